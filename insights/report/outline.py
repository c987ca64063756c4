"""What every form of the report shows, in its order: parts of a Report picked, sorted and put in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from insights.records import Cause, Citation, FailedRun, Finding, Report, TestedHypothesis
from insights.report import words

QUOTED = {"support": 3, "counter": 2}  # quotations shown of a finding
LISTED_IDS = 40  # trace ids of unexplained failures; findings.json has all of them
TRIED = (
    ("confirmed", "Also counted"),
    ("descriptive", "Also seen"),
    ("refuted", "Refuted"),
    ("inconclusive", "Inconclusive"),
)
LISTED_FAILURES = 300  # rows of the table of failed runs; findings.json has all of them
VERDICTS = {
    "confirmed": "tested among runs of the same task, beyond chance and the number of things tried",
    "counted": "how often it happens, not tested as a cause",
    "counted, no harm shown": "no more harm is shown where it happens",
    "listed": "runs named one by one by their reader; others were not searched for it unless a note says so",
    "association": "goes with failing, but may only mark the harder tasks",
}
LISTED_HYPOTHESES = 200  # of each verdict; findings.json has all of them


def by_actor(report: Report) -> list[tuple[str, int]]:
    """(actor in words, failures) of the partition, most first; unexplained failures have no actor."""
    totals: dict[str, int] = {}
    for cause in report.partition:
        name = "unexplained" if unexplained_cause(cause) else words.ACTORS.get(cause.actor, cause.actor)
        totals[name] = totals.get(name, 0) + cause.n
    return sorted(totals.items(), key=lambda item: (item[0] == "unexplained", -item[1]))


def parts(report: Report) -> tuple[str, list[str], list[dict[str, Any]]]:
    """(attribute, actors that occur, rows) of the table of failures by part of the corpus; ("", [], []) without one."""
    found = report.corpus.get("parts") or {}
    rows = found.get("rows", [])
    actors = [a for a in (*words.ACTORS, "unknown") if any(row["causes"].get(a) for row in rows)]
    return found.get("by", ""), actors, rows


def set_aside(report: Report) -> str:
    """The pass rate without the runs that a cause on the task or grader holds, and how many other failures are among these."""
    blamed = [c for c in report.partition if c.actor == "grader"]
    ids = {c.finding_id for c in blamed}
    held = {t for c in blamed for t in c.trace_ids} | {t for f in report.findings if f.id in ids for t in f.trace_ids}
    passed, failed = report.corpus["n_passed"], report.corpus["n_failed"]
    n = passed + failed
    if not held or report.corpus.get("n_unlabelled") or len(held) >= n:
        return ""
    all_failed = {t for c in report.partition for t in c.trace_ids}
    left, rest = passed - len(held - all_failed), n - len(held)
    others = len(held & {t for c in report.partition if c.actor != "grader" for t in c.trace_ids})
    named = ", ".join(f.id for f in report.findings if f.id in ids)
    said = (
        f"Set aside the {len(held):,} runs of tasks or verdicts found at fault{f' ({named})' if named else ''}: "
        f"of the other {rest:,}, {left:,} pass "
        f"({words.percent(words.share(left, rest))}; as scored, {words.percent(words.share(passed, n))})."
    )
    failures = words.plural(others, "failure has", "failures have")
    more = f" Of the runs set aside {others:,} {failures} another cause: mending that alone may not turn them."
    return said + (more if others else "")


def shown_id(report: Report, trace_id: str) -> str:
    """A trace id without the beginning that all failed traces share up to a separator; `common_start` says it."""
    return trace_id[len(common_start(report)) :]


def common_start(report: Report) -> str:
    """What the ids of all failed traces begin with, up to the last `/` or `:`."""
    ids = [run.trace_id for run in report.failures]
    first, last = (min(ids), max(ids)) if len(ids) > 1 else ("", "")
    start = first[: next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)]
    return start[: max(start.rfind("/"), start.rfind(":")) + 1]


def explained(report: Report) -> int:
    """How many failed traces a reader has explained one by one."""
    return sum(bool(run.cause) for run in report.failures)


def doing(run: FailedRun) -> str:
    return "" if run.actor == "unknown" else words.ACTORS.get(run.actor, run.actor)


def ranked_by(report: Report) -> str:
    if not words.labelled(report):
        return "severity and how common they are"
    away = "the failures that would plausibly go away"
    return f"the failures counted under each, then {away}" if explained(report) else away


def verdicts_told(report: Report) -> str:
    """What the words of the column of verdicts mean, of those that occur."""
    used = {words.verdict(f) for f in report.findings}
    told = [f"{name}: {line}" for name, line in VERDICTS.items() if name in used]
    if any(f.contrast and words.difference(f.contrast).endswith("unadjusted") for f in report.findings):
        told.append("unadjusted: harder tasks are not told from easier ones")
    return "; ".join(told)


def difference_told(report: Report) -> str:
    """What the column of outcomes is of: failing, where every contrast is on success."""
    outcomes = {f.contrast.outcome for f in report.findings if f.contrast}
    return "failing where it happens; how much more" if outcomes == {"success"} else "difference"


def numbered(report: Report) -> list[tuple[int, Finding]]:
    """The findings in the report's order with the number they are read by."""
    return list(enumerate(report.findings, 1))


def tried(report: Report, verdict: str) -> list[TestedHypothesis]:
    """Hypotheses of one verdict, the nearest to significance first; none that became a finding."""
    found = {f.predicate.code for f in report.findings}
    rest = [h for h in report.hypotheses if h.verdict == verdict and h.predicate.code not in found]
    return sorted(rest, key=lambda h: (1.0 if h.p is None else h.p, -h.k, h.id))


def counted(h: TestedHypothesis) -> str:
    """`7 of 40`, or that it came to no count."""
    return f"{h.k:,} of {h.n:,}" if h.n else "not counted"


def citations(finding: Finding, role: str) -> list[Citation]:
    """The first few of a role; findings.json has all of them."""
    return [c for c in finding.citations if c.role == role][: QUOTED[role]]


def verified_mark(citation: Citation) -> str:
    return "" if citation.verified else "(not found in the trace)"


def unexplained_cause(cause: Cause) -> bool:
    return cause.finding_id is None and cause.label == "unexplained"


def unexplained(report: Report) -> tuple[str, ...]:
    """Ids of the failed traces that no confirmed finding matches."""
    return tuple(i for cause in report.partition if unexplained_cause(cause) for i in cause.trace_ids)


def says_more(finding: Finding) -> bool:
    """Whether the claim is more than the title said again."""
    return finding.claim.strip(" .") != finding.title.strip(" .")


def classes(finding: Finding) -> list[tuple[str, str]]:
    """(vocabulary, class) of the finding's taxonomy that a reader is shown; whose doing it is stands elsewhere."""
    return [(name, finding.taxonomy[name]) for name in ("class", "mast") if finding.taxonomy.get(name)]


def items(mapping: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, value in words) of a record of the run, empty ones left out."""
    for name, value in mapping.items():
        text = in_words(value)
        if text:
            yield name.replace("_", " "), text


def in_words(value: Any) -> str:
    """A value of a run's record on one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {text}" for name, text in items(value))
    if isinstance(value, list | tuple | set | frozenset):
        return "; ".join(filter(None, (in_words(v) for v in value)))
    return str(value)


def kind_in_words(finding: Finding) -> str:
    return {
        "prevalence": "how common it is",
        "contrast": "tied to the outcome",
        "environment": "the environment's doing",
        "label_defect": "a defect of the verdicts",
        "rare": "rare but severe",
    }[finding.kind]


def actor(finding: Finding) -> str:
    name = finding.taxonomy.get("actor", "")
    return words.ACTORS.get(name, name)


def sections(report: Report) -> list[tuple[str, str]]:
    """(anchor, title with its count) of the table of contents."""
    found = [("answer", "Answer")]
    if report.partition:
        found.append(("failures", f"Where the failures come from ({len(report.partition)})"))
    found.append(("findings", f"Findings ({len(report.findings)})"))
    if report.failures:
        found.append(("runs", f"Every failed run ({len(report.failures)})"))
    for verdict, title in TRIED:
        if n := len(tried(report, verdict)):
            found.append((verdict, f"{title} ({n})"))
    if n := len(unexplained(report)):
        found.append(("unexplained", f"Unexplained ({n})"))
    if report.not_analysed:
        found.append(("not-analysed", "Not analysed"))
    found.append(("made", "How this was made"))
    return found
