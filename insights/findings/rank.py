"""How much a finding matters: failures plausibly removed, weighted by severity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from insights.records import Cause, Contrast, Finding, Severity

WEIGHT: dict[Severity, float] = {"low": 0.5, "medium": 1.0, "high": 1.5, "critical": 3.0}
HIGH_SHARE, MEDIUM_SHARE = 0.10, 0.02  # of all failures


def severity_of(said: str | None, terminal: int | None, n_failed: int) -> Severity:
    """What the finding's words say, else by the share of all failures that have the property."""
    if said in WEIGHT:
        return said
    if terminal is None or n_failed == 0:
        return "medium"
    share = terminal / n_failed
    return "high" if share >= HIGH_SHARE else "medium" if share >= MEDIUM_SHARE else "low"


def rank_score(
    k: int,
    terminal: int | None,
    contrast: Contrast | None,
    severity: Severity,
    *,
    explains: bool = True,
    doubts: bool = False,
) -> float:
    """Failures plausibly removed times the severity's weight; a finding that explains nothing counts a quarter.

    One that `doubts` the tasks or the grader bears on every number of the report: it counts a tenth of its traces at the least.

    Removed is the bound of the risk difference that is nearer to zero, times k; without a contrast, the failed traces
    that have the property; without outcomes, k on a scale below any of those.
    """
    if contrast is not None and contrast.outcome == "success":
        removed = min(max(0.0, -contrast.high) * k, float(terminal or 0))
    elif contrast is not None:
        removed = min(abs(contrast.low), abs(contrast.high)) * k if contrast.low * contrast.high > 0 else 0.0
    elif terminal is not None:
        removed = float(terminal)
    else:
        removed = k / (k + 10.0)
    if doubts:
        removed = max(removed, 0.1 * k)
    return round(removed * WEIGHT[severity] * (1.0 if explains else 0.25), 3)


DESCRIBES = "9"  # tier of findings that describe; see `insights.findings.partition.NO_CAUSE`
VAGUE = ("omission", "order", "repeated_call")  # causes that name a call and no fault
AROUND = 4  # times as many traces: a finding larger than that says less than the vague one within it
TOLD = 0.8  # share of a vague finding's traces that others must hold for it to be told by them
SUSPICIONS = ("never_passes", "doing_nothing_passes")  # against tasks, from the score alone
SYMPTOMS = ("waste", "success_claimed")  # go with failing and are no cause of it
ORDER = {"confirmed": 0, "descriptive": 1, "inconclusive": 2, "refuted": 3}
ASKED_FOR = {
    "comparison": ("comparison",),
    "conduct": ("injection_obeyed", "denied", "interrupted", "corrected"),
    "cost": ("waste", "budget_exhausted", "retry_loop", "repeated_read"),
    "habit": ("habit",),
}


def ranked(findings: list[Finding], intent: str = "failure") -> list[Finding]:
    """What the question asks for first; causes before doubts about the verdicts before symptoms; by verdict, score, traces, id."""
    wanted = ASKED_FOR.get(intent, ())
    told = told_by_others(findings)
    return sorted(
        findings,
        key=lambda f: (
            f.taxonomy.get("cause") not in wanted, 2 if f.id in told else _part(f), ORDER[f.verdict],
            -f.rank_score, -(f.terminal or 0), -f.prevalence.k, f.id,
        ),
    )  # fmt: skip


def by_cause(findings: list[Finding], causes: Sequence[Cause], intent: str) -> list[Finding]:
    """Where failed runs were read: what they were counted under before what only goes with failing, the most failures first."""
    if intent in ASKED_FOR:
        return findings
    counted: Counter[str | None] = Counter()
    for c in causes:
        counted[c.finding_id] += c.n
    return sorted(findings, key=lambda f: -counted[f.id])


def told_by_others(findings: Sequence[Finding]) -> set[str]:
    """Ids of findings that say no more than others do together: a call made, left out or repeated, in runs that named faults cut short.

    Such a finding's traces are, but for a fifth, those of confirmed findings which lie by half or more inside of it, or lie
    within one that is at most four times as large.
    """
    named = [
        f
        for f in findings
        if f.verdict == "confirmed" and f.taxonomy.get("cause") not in VAGUE and f.taxonomy.get("tier") != DESCRIBES
    ]
    told = set()
    for f in findings:
        mine = set(f.trace_ids)
        if f.taxonomy.get("cause") in VAGUE and mine:
            sets = [set(g.trace_ids) for g in named]
            inside = [ids for ids in sets if 2 * len(mine & ids) >= len(ids)]
            around = any(len(mine & ids) >= TOLD * len(mine) and len(ids) <= AROUND * len(mine) for ids in sets)
            if around or len(mine & set().union(*inside)) >= TOLD * len(mine):
                told.add(f.id)
    return told


def _part(f: Finding) -> int:
    """0 what may explain failures, 1 what makes the verdicts doubtful, 2 what describes them or does no harm, 3 symptoms."""
    if f.taxonomy.get("tier") != DESCRIBES:
        return 2 if f.verdict == "descriptive" and f.kind != "contrast" else 0
    if f.kind == "label_defect":
        return 1 if f.taxonomy.get("cause") in SUSPICIONS else 0
    if f.taxonomy.get("cause") in SYMPTOMS:
        return 3
    tested = f.kind == "contrast" and f.contrast is not None and f.contrast.outcome == "success"
    return 0 if tested and f.verdict == "confirmed" else 2
