"""Findings counted again: on the corpus they came from, to see that they hold, or on another, to see what became of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from insights.errors import PredicateError
from insights.findings import predicate as predicates
from insights.findings.verdict import contrast, count
from insights.records import Contrast, Finding, Prevalence, Report
from primitives.secrets import MASK

if TYPE_CHECKING:
    from primitives.corpus import Corpus

Status = Literal["same", "moved", "gone", "unclear"]
READS_LABELS = re.compile(r"\b(?:from|join)\s+labels\b|,\s*labels\b", re.I)
READS_VERDICTS = re.compile(r"\bsuccess\b", re.I)
WATCHED = ("confirmed", "descriptive")  # verdicts of findings that are measured again


@dataclass(frozen=True, slots=True)
class Difference:
    """Share now minus share then, with Newcombe's 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Remeasured:
    """One finding then and now. `now` and `difference` are None where it could not be counted; `why` says so."""

    finding_id: str
    title: str
    status: Status
    why: str
    then: Prevalence
    now: Prevalence | None
    difference: Difference | None
    contrast: Contrast | None
    trace_ids: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        if self.contrast is not None:
            value["contrast"]["with"] = value["contrast"].pop("with_")
        return value


def verify(report: Report, corpus: Corpus, only: Sequence[str] = ()) -> list[Remeasured]:
    """Every confirmed and descriptive finding (or those named by id) measured on `corpus`, in the report's order.

    same: on the run's own corpus, exactly the same count; on another, no difference that 95 % can tell.
    moved: more or fewer. gone: none left, and more than chance. unclear: it could not be counted, or it was not seen
    in too few traces to say that it is gone.
    """
    (fingerprint,) = corpus.con.execute("SELECT fingerprint FROM corpus_info").fetchone() or (None,)
    own = fingerprint is not None and fingerprint == report.corpus.get("fingerprint")
    chosen = [f for f in report.findings if (f.id in only if only else f.verdict in WATCHED)]
    return [measure(f, corpus, own=own) for f in chosen]


def measure(f: Finding, corpus: Corpus, *, own: bool = False) -> Remeasured:
    """One finding on a corpus; `own` says that it is the very corpus it was found on."""
    refused = _uncountable(f, corpus)
    if refused is None:
        try:
            matches = predicates.run(corpus, f.predicate.code, population=f.population)
            n = predicates.population_size(corpus, f.population)
        except PredicateError as error:
            refused = str(error)
    if refused is not None:
        return Remeasured(f.id, f.title, "unclear", refused, f.prevalence, None, None, None)
    ids = tuple(sorted({m.trace_id for m in matches}))
    now = count(len(ids), n)
    difference = difference_of(f.prevalence, now)
    status, why = _status(f.prevalence, now, difference, own=own)
    return Remeasured(f.id, f.title, status, why, f.prevalence, now, difference, _contrast(f, corpus, ids), ids)


def difference_of(then: Prevalence, now: Prevalence) -> Difference | None:
    from primitives.stats.intervals import newcombe

    if not then.n or not now.n:
        return None
    return Difference(*(float(x) for x in newcombe(now.k, now.n, then.k, then.n)))


def _uncountable(f: Finding, corpus: Corpus) -> str | None:
    """Why the finding cannot be counted on this corpus by its predicate alone; None when it can."""
    if "gold" in f.prevalence.method:
        return "a model judged this property; its prevalence comes from re-read samples: ask again on this corpus"
    if MASK in f.predicate.code:
        return "its predicate names a secret, which the report masks: ask again with --no-redact to count it again"
    if READS_VERDICTS.search(f"{f.predicate.code} {f.population or ''}"):
        row = corpus.con.execute("SELECT count(success) FROM traces").fetchone()
        if not (row and row[0]):
            return "it is about verdicts, and no trace of this corpus has one: label it first"
    if not READS_LABELS.search(f.predicate.code):
        return None
    row = corpus.con.execute(
        "SELECT count(*) FROM labels WHERE contains($code, '''' || name || '''')", {"code": f.predicate.code}
    ).fetchone()
    return None if row and row[0] else "the predicate reads labels that this corpus does not have: label it first"


def _status(then: Prevalence, now: Prevalence, d: Difference | None, *, own: bool) -> tuple[Status, str]:
    if d is None:
        return "unclear", "no trace of this corpus is eligible"
    if own:
        if (then.k, then.n) == (now.k, now.n):
            return "same", "counted again: the same traces"
        return "moved", "the corpus is the same and the count is not: the predicate is not deterministic"
    if d.low <= 0 <= d.high:
        if now.k == 0:
            return "unclear", f"not seen in {now.n:,} traces, too few to say that it is gone"
        return "same", "no difference beyond chance"
    if now.k == 0:
        return "gone", f"not seen in {now.n:,} traces"
    return "moved", "more often" if d.value > 0 else "less often"


def _contrast(f: Finding, corpus: Corpus, ids: tuple[str, ...]) -> Contrast | None:
    from primitives.cohort import resolve

    if f.contrast is None or f.contrast.outcome != "success" or not ids:
        return None
    return contrast(corpus, resolve(corpus, list(ids)), f.population)
