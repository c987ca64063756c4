"""The nouns that stages hand to each other: Hypothesis, Citation, Finding, Report and their parts.

Traces, steps, tool calls and signals are rows of the corpus (corpus/schema.sql), never objects here.
Everything is frozen; `to_json`/`from_json` of `Report` is findings.json, documented in docs/findings.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["prevalence", "contrast", "environment", "label_defect", "rare"]
Verdict = Literal["confirmed", "refuted", "inconclusive", "descriptive"]
Severity = Literal["low", "medium", "high", "critical"]


@dataclass(frozen=True, slots=True)
class Predicate:
    """One SELECT giving `trace_id` and, where it can, `seq` and `quote`."""

    code: str
    lang: str = "sql"


@dataclass(frozen=True, slots=True)
class Count:
    k: int
    n: int


@dataclass(frozen=True, slots=True)
class Prevalence:
    """k of n eligible traces; `unscored` could not be judged; a 95 % interval by `method`."""

    k: int
    n: int
    unscored: int
    low: float
    high: float
    method: str


@dataclass(frozen=True, slots=True)
class Contrast:
    """Traces with the property against those without, on `outcome`; `test` says what it adjusted for."""

    outcome: str
    with_: Count
    without: Count
    risk_difference: float
    low: float
    high: float
    odds_ratio: float | None
    p: float | None
    q: float | None
    test: str
    strata: int
    adjusted: bool


@dataclass(frozen=True, slots=True)
class Citation:
    trace_id: str
    seq: int
    quote: str
    role: Literal["support", "counter"] = "support"
    verified: bool = False


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a Scout proposes. `population` is a SELECT of eligible trace ids, or None for all traces.

    `slot` names the slice of the Scout that proposed it; `about` carries what the playbook already
    knows (mechanism, actor, taxonomy, suggested fix, data gap) so that the Investigator need not guess.
    """

    id: str
    statement: str
    predicate: Predicate
    kind: Kind = "contrast"
    population: str | None = None
    slot: str = ""
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TestedHypothesis:
    """One row of the list of everything that was tried."""

    id: str
    statement: str
    predicate: Predicate
    verdict: Verdict
    k: int
    n: int
    p: float | None
    q: float | None
    why: str


@dataclass(frozen=True, slots=True)
class Finding:
    id: str
    title: str
    claim: str
    mechanism: str
    kind: Kind
    verdict: Verdict
    severity: Severity
    rank_score: float
    taxonomy: dict[str, str]  # {"actor": agent|simulated_user|environment|grader, "class": …, "mast": …}
    population: str | None
    predicate: Predicate
    prevalence: Prevalence
    contrast: Contrast | None
    terminal: int | None  # traces where it happens that fail
    recovered: int | None  # traces where it happens that still pass
    citations: tuple[Citation, ...]
    failed_citations: int
    trace_ids: tuple[str, ...]
    suggested_fix: str
    data_gap: str
    notes: tuple[str, ...] = ()  # what could not be adjusted, excluded or decided


@dataclass(frozen=True, slots=True)
class Cause:
    """One row of the partition of all failures: every failed trace is counted in exactly one."""

    label: str
    finding_id: str | None  # None for "unexplained"
    actor: str
    n: int
    trace_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FailedRun:
    """The root cause of one failed trace, under the finding it counts for; `cause` is a reader's sentence, empty if unread."""

    trace_id: str
    finding_id: str | None
    actor: str
    cause: str
    seq: int | None  # the step that shows it, quoted verbatim
    quote: str
    instead: str  # what should have been done at that step


@dataclass(frozen=True, slots=True)
class Report:
    run_id: str
    question: str
    intent: str  # what the question was matched to, and by which rule
    answer: tuple[str, ...]  # at most five lines
    corpus: dict[str, Any]  # path, fingerprint, n_traces, n_passed, n_failed, n_unlabelled, …
    model: str | None
    cost: dict[str, Any]  # usd, input_tokens, output_tokens, calls
    partition: tuple[Cause, ...]
    findings: tuple[Finding, ...]
    hypotheses: tuple[TestedHypothesis, ...]
    not_analysed: dict[str, Any]
    made: dict[str, Any]  # seed, versions, sandbox, seconds, rounds, agents
    failures: tuple[FailedRun, ...] = ()  # every failed trace, where a reader has explained any
