"""The head of a report for a terminal: the answer, where failures come from, the ranked findings, and where the rest is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from insights.records import Report
from insights.report import outline, words
from insights.report.escape import one_line, shortened

FINDINGS = 12  # shown; the report has all
CAUSES = 12
TITLE_CHARS = 90


def head(report: Report, run_dir: Path) -> str:
    """A screenful of plain text; nothing in it can move a terminal's cursor or colour it."""
    return "\n".join(_lines(report, run_dir))


def _lines(report: Report, run_dir: Path) -> Iterator[str]:
    yield f"{one_line(report.question)}  ({words.corpus_line(report)})"
    yield ""
    yield from (f"  {one_line(line)}" for line in report.answer)
    if report.partition:
        yield from _partition(report)
    yield from _findings(report)
    for verdict, title in outline.TRIED:
        if n := len(outline.tried(report, verdict)):
            yield f"{title.lower()}: {n}"
    yield ""
    yield f"spent: {words.money(report)}"
    for name in ("report.md", "report.html", "findings.json", "notebook.ipynb"):
        yield f"  {run_dir / name}"


def _partition(report: Report) -> Iterator[str]:
    failed = report.corpus["n_failed"]
    yield ""
    yield f"where the {failed:,} failures come from"
    for cause in report.partition[:CAUSES]:
        name = f"  [{cause.finding_id}]" if cause.finding_id else ""
        share = words.percent(words.share(cause.n, failed))
        yield f"  {cause.n:>6,}  {share:>6}  {_title(cause.label)}{name}"
    if more := report.partition[CAUSES:]:
        yield f"  {sum(c.n for c in more):>6,}          {len(more)} more causes"


def _findings(report: Report) -> Iterator[str]:
    yield ""
    if not report.findings:
        yield f"no finding; {len(report.hypotheses)} hypotheses were tried"
        return
    yield f"findings, by {outline.ranked_by(report)}"
    for number, f in outline.numbered(report)[:FINDINGS]:
        p = f.prevalence
        rare = ", rare but severe" if f.kind == "rare" else ""
        harm = words.harm(f)
        yield f"  {number:>2}. {_title(f.title)}  [{f.id}]"
        yield (
            f"      {words.bar(p)}  {p.k:,} of {p.n:,} ({words.percent(p.low)} to {words.percent(p.high)})"
            f"{'; ' if harm else ''}{harm}; {words.verdict(f)}{rare}"
        )
    if len(report.findings) > FINDINGS:
        yield f"      and {len(report.findings) - FINDINGS} more in the report"


def _title(text: str) -> str:
    return shortened(one_line(text), TITLE_CHARS)
