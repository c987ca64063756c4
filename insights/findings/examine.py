"""One hypothesis measured on a corpus: its matches, its count, its contrast, its checked quotations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from insights.findings import citations as quoting
from insights.findings import judged
from insights.findings import predicate as predicates
from insights.findings.rank import rank_score, severity_of
from insights.findings.verdict import contrast, count, decide
from insights.records import Citation, Contrast, Finding, Hypothesis, Predicate, Prevalence, TestedHypothesis, Verdict

if TYPE_CHECKING:
    from primitives.corpus import Corpus


@dataclass(frozen=True, slots=True)
class Examined:
    """What was measured; the verdict waits for the q-values of the whole run."""

    hypothesis: Hypothesis
    prevalence: Prevalence
    contrast: Contrast | None
    citations: tuple[Citation, ...]
    failed_citations: int
    trace_ids: tuple[str, ...]
    terminal: int | None
    recovered: int | None
    words: dict[str, Any] = field(default_factory=dict)  # title, claim, mechanism, taxonomy, fix, … by the Investigator
    notes: tuple[str, ...] = ()
    own: bool = False  # suggested by some of the traces that it is tested on


def examine(
    corpus: Corpus,
    hypothesis: Hypothesis,
    *,
    confirmation: str | None = None,
    given: tuple[Citation, ...] = (),
    words: dict[str, Any] | None = None,
) -> Examined:
    """Measure a hypothesis over its whole population; the contrast only on `confirmation` (a condition over traces) if given.

    Raises PredicateError when its predicate or population does not run.
    """
    matches = predicates.run(corpus, hypothesis.predicate.code, population=hypothesis.population)
    ids = tuple(sorted({m.trace_id for m in matches}))
    n = predicates.population_size(corpus, hypothesis.population)
    outcomes = dict(
        corpus.con.execute(
            "SELECT trace_id, success FROM traces WHERE trace_id IN (SELECT unnest($ids::VARCHAR[]))",
            {"ids": list(ids)},
        ).fetchall()
    )
    failed, passed = (sum(v is side for v in outcomes.values()) for side in (False, True))
    label = judged.label_in(corpus, hypothesis.predicate.code)
    checked = quoting.verify(corpus, given)
    if not any(c.verified and c.role == "support" for c in checked):
        bad = [m for m in matches if outcomes.get(m.trace_id) is not True]
        checked += quoting.verify(corpus, quoting.choose(corpus, bad or matches, "support", quoting.SUPPORTS))
    if passed and not any(c.role == "counter" for c in checked):
        good = [m for m in matches if outcomes.get(m.trace_id) is True]
        checked += quoting.verify(corpus, quoting.choose(corpus, good, "counter", quoting.COUNTERS))
    labelled = failed + passed > 0
    return Examined(
        hypothesis=hypothesis,
        prevalence=count(len(ids), n) if label is None else _judged(corpus, label, ids, hypothesis),
        contrast=_contrast(corpus, hypothesis, ids, confirmation, label),
        citations=tuple(c for c in checked if c.verified),
        failed_citations=sum(not c.verified for c in checked),
        trace_ids=ids,
        terminal=failed if labelled else None,
        recovered=passed if labelled else None,
        words=words or {},
    )


def _judged(corpus: Corpus, label: str, ids: tuple[str, ...], hypothesis: Hypothesis) -> Prevalence:
    from primitives.cohort import resolve

    return judged.prevalence(corpus, label, ids, resolve(corpus, hypothesis.population))


def _contrast(
    corpus: Corpus, hypothesis: Hypothesis, ids: tuple[str, ...], confirmation: str | None, label: str | None
) -> Contrast | None:
    from primitives.cohort import resolve

    population = hypothesis.population
    if label is not None:
        population = judged.judged_traces(label, resolve(corpus, population))
    if confirmation:
        population = (
            f"SELECT trace_id FROM ({resolve(corpus, population)}) WHERE trace_id IN ({resolve(corpus, confirmation)})"
        )
    if not ids:
        return None
    about = hypothesis.about
    return contrast(
        corpus, resolve(corpus, list(ids)), population, about.get("outcome", "success"), about.get("outcome_name")
    )


def verdict(examined: Examined, q: float | None, *, labelled: bool) -> tuple[Examined, Verdict, str]:
    """The examined hypothesis with its q-value, what was decided, and why."""
    if examined.contrast is not None:
        examined = replace(examined, contrast=replace(examined.contrast, q=q))
    supports = sum(c.role == "support" for c in examined.citations)
    decided, why = decide(examined.hypothesis.kind, examined.prevalence, examined.contrast, supports, labelled=labelled)
    if decided == "confirmed" and examined.hypothesis.kind == "contrast" and examined.own:
        decided, why = (
            "descriptive",
            f"an association: traces that suggested it are among those it is tested on ({why})",
        )
    return examined, decided, why


def as_tested(examined: Examined, decided: Verdict, why: str) -> TestedHypothesis:
    h, c = examined.hypothesis, examined.contrast
    return TestedHypothesis(
        h.id, h.statement, h.predicate, decided, examined.prevalence.k, examined.prevalence.n, c.p if c else None,
        c.q if c else None, why,
    )  # fmt: skip


def as_finding(examined: Examined, decided: Verdict, why: str, n_failed: int) -> Finding:
    """The finding of an examined hypothesis; its words come from the Investigator, every number from here."""
    h, words = examined.hypothesis, {**examined.hypothesis.about, **{k: v for k, v in examined.words.items() if v}}
    severity = severity_of(words.get("severity"), examined.terminal, n_failed)
    notes = [*words.get("notes", ()), *examined.notes]
    if not why.startswith("counted exactly over"):
        notes.append(why[0].upper() + why[1:] + ".")
    return Finding(
        id=h.id,
        title=words.get("title") or h.statement,
        claim=words.get("claim") or h.statement,
        mechanism=words.get("mechanism", ""),
        kind=h.kind,
        verdict=decided,
        severity=severity,
        rank_score=rank_score(
            examined.prevalence.k,
            examined.terminal,
            examined.contrast,
            severity,
            doubts=h.kind == "label_defect",
            explains=str((words.get("taxonomy") or {}).get("tier")) != "9"
            or (h.kind != "contrast" and examined.contrast is not None),
        ),
        taxonomy={str(k): str(v) for k, v in (words.get("taxonomy") or {}).items()},
        population=h.population,
        predicate=Predicate(h.predicate.code),
        prevalence=examined.prevalence,
        contrast=examined.contrast,
        terminal=examined.terminal,
        recovered=examined.recovered,
        citations=examined.citations,
        failed_citations=examined.failed_citations,
        trace_ids=examined.trace_ids,
        suggested_fix=words.get("suggested_fix", ""),
        data_gap=words.get("data_gap", ""),
        notes=tuple(dict.fromkeys(str(n) for n in notes)),
    )
