"""Every failed trace in exactly one cause, "unexplained" included: the table that opens a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from insights.records import Cause, Finding

PURITY = 0.6  # of the traces with the property that have an outcome, the share that must fail for it to be a cause
UNREAD = 0.2  # share of a population that may be unjudged before a finding explains nothing
MARGIN = 0.1  # share points by which a cause's traces must fail more often than the rest
ASSOCIATED = 0.9  # the same for a contrast that could not be adjusted for task difficulty: nearly all must fail
READ = (
    1  # below it: what ended the run from outside, and mechanisms that a reader gave; they are asked before single runs
)
SYMPTOM = 2  # tier from which findings say what differs from the reference, and not why
NO_CAUSE = 9  # tier of findings that describe and do not explain: a symptom, a suspicion against tasks, a slice
MOST_CAUSES = 24  # rows; what is left after them stays "explained by other findings"
SINGLE = "a cause of its own, read in the run"  # no finding holds it; the table of failed runs says what it was


@dataclass(frozen=True, slots=True)
class Root:
    """What a reader of a failed run said was its root cause: whose doing, and the finding it is a case of, if any."""

    actor: str
    finding_id: str | None = None


def partition(
    findings: Sequence[Finding],
    failed: Sequence[str],
    tiers: Mapping[str, float],
    roots: Mapping[str, Root] | None = None,
) -> tuple[Cause, ...]:
    """Causes that sum to the failed traces.

    A run whose reader named a finding (`roots`, by trace) counts there, as the doing of whom the reader named. Else a
    confirmed finding can be its cause when most of that finding's traces fail. `tiers` (finding id -> 0 decided the run from
    outside, below 1 a mechanism that a reader gave, 1 one that code saw, 2 and more what departs from a reference) says who
    is asked first; within a tier the finding that explains most of what is left. What was read and belongs to no finding of a
    reader is kept apart by actor, before what only code has seen is asked.
    """
    roots = roots or {}
    left = set(failed)
    causes: list[Cause] = []
    named: dict[tuple[str, str], set[str]] = {}
    for trace_id, root in roots.items():
        named.setdefault((root.finding_id or "", root.actor), set()).add(trace_id)
    for f in findings:
        for (finding_id, actor), ids in named.items():
            if finding_id == f.id:
                _take(causes, left, f, ids & set(f.trace_ids), actor)
    able = {f.id: f for f in findings if _can_explain(f) and tiers.get(f.id, 1) < NO_CAUSE}
    _share(causes, left, {i: f for i, f in able.items() if tiers.get(i, 1) < READ}, tiers)
    alone: dict[str, set[str]] = {}
    for trace_id in left & roots.keys():
        alone.setdefault(roots[trace_id].actor, set()).add(trace_id)
    for actor, ids in sorted(alone.items()):
        causes.append(Cause(SINGLE, None, actor, len(ids), tuple(sorted(ids))))
        left -= ids
    _share(causes, left, {i: f for i, f in able.items() if tiers.get(i, 1) >= READ}, tiers)
    causes = _joined(causes)
    elsewhere = {t for f in able.values() for t in f.trace_ids} & left
    if elsewhere:
        label = "other confirmed findings, few traces each"
        causes.append(Cause(label, None, "several", len(elsewhere), tuple(sorted(elsewhere))))
        left -= elsewhere
    if left:
        causes.append(Cause("unexplained", None, "unknown", len(left), tuple(sorted(left))))
    return tuple(causes)


def _take(causes: list[Cause], left: set[str], f: Finding, ids: set[str], actor: str | None = None) -> None:
    """Count what is left of `ids` under a finding."""
    mine, its = ids & left, f.taxonomy.get("actor", "agent")
    if mine:
        left -= mine
        causes.append(Cause(f.title, f.id, its if its == "limit" else actor or its, len(mine), tuple(sorted(mine))))


def _share(causes: list[Cause], left: set[str], candidates: dict[str, Finding], tiers: Mapping[str, float]) -> None:
    """Give what is left to candidates, the lowest tier and the largest share first."""
    ids = {i: set(f.trace_ids) for i, f in candidates.items()}
    while ids and left and len({c.finding_id for c in causes}) < MOST_CAUSES:
        best = max(ids, key=lambda i: (bool(ids[i] & left), -tiers.get(i, 1), len(ids[i] & left), i))
        mine = ids.pop(best) & left
        if not mine:
            break
        _take(causes, left, candidates[best], mine)


def _joined(causes: list[Cause]) -> list[Cause]:
    """One row for each finding, the largest first; single causes after the findings."""
    rows: dict[tuple[str | None, str], Cause] = {}
    for c in causes:
        known = rows.get((c.finding_id, c.actor))
        ids = tuple(sorted((*(known.trace_ids if known else ()), *c.trace_ids)))
        rows[c.finding_id, c.actor] = Cause(c.label, c.finding_id, c.actor, len(ids), ids)
    return sorted(rows.values(), key=lambda c: (c.finding_id is None, -c.n))


def _can_explain(f: Finding) -> bool:
    known = (f.terminal or 0) + (f.recovered or 0)
    if not known:
        return False
    purity = (f.terminal or 0) / known
    if f.prevalence.unscored > UNREAD * (f.prevalence.n + f.prevalence.unscored):
        return False  # judged on a sample: the rest may have it as well
    if _is_association(f):
        return purity >= ASSOCIATED and f.contrast is not None and (f.contrast.q or 1.0) <= 0.01
    return f.verdict == "confirmed" and purity >= PURITY and _above(f)


def _above(f: Finding) -> bool:
    """Whether its traces fail clearly more often than the others do: what happens in most runs explains none of them."""
    c = f.contrast
    if c is None or c.outcome != "success" or not c.with_.n or not c.without.n:
        return True
    if f.kind == "environment" and f.recovered and c.high >= 0:
        return False
    return c.without.k / c.without.n - c.with_.k / c.with_.n >= MARGIN


def _is_association(f: Finding) -> bool:
    return f.kind == "contrast" and f.verdict == "descriptive"
