"""Every failed trace in exactly one cause, "unexplained" included: the table that opens a report."""

from __future__ import annotations

from collections.abc import Sequence

from insights.records import Cause, Finding

PURITY = 0.6  # of the traces with the property that have an outcome, the share that must fail for it to be a cause
UNREAD = 0.2  # share of a population that may be unjudged before a finding explains nothing
MARGIN = 0.1  # share points by which a cause's traces must fail more often than the rest
ASSOCIATED = 0.9  # the same for a contrast that could not be adjusted for task difficulty: nearly all must fail
NO_CAUSE = 9  # tier of findings that describe and do not explain: a symptom, a suspicion against tasks, a slice
MOST_CAUSES = 14  # rows; what is left after them stays "explained by other findings"


def partition(findings: Sequence[Finding], failed: Sequence[str], tiers: dict[str, int]) -> tuple[Cause, ...]:
    """Causes that sum to the failed traces.

    A confirmed finding can be a cause when most of its traces fail. `tiers` (finding id -> 0 decided the run from outside,
    1 a mechanism, 2 a general class) says who is asked first; within a tier the finding that explains most of what is left.
    """
    left = set(failed)
    causes: list[Cause] = []
    candidates = {
        f.id: (f, set(f.trace_ids) & left) for f in findings if _can_explain(f) and tiers.get(f.id, 1) < NO_CAUSE
    }
    while candidates and left and len(causes) < MOST_CAUSES:
        best = max(
            candidates, key=lambda i: (bool(candidates[i][1] & left), -tiers.get(i, 1), len(candidates[i][1] & left), i)
        )
        finding, ids = candidates.pop(best)
        mine = ids & left
        if not mine:
            break
        left -= mine
        causes.append(
            Cause(finding.title, finding.id, finding.taxonomy.get("actor", "agent"), len(mine), tuple(sorted(mine)))
        )
    causes.sort(key=lambda c: -c.n)
    elsewhere = {t for f in findings if _can_explain(f) and tiers.get(f.id, 1) < NO_CAUSE for t in f.trace_ids} & left
    if elsewhere:
        causes.append(
            Cause(
                "other confirmed findings, few traces each", None, "several", len(elsewhere), tuple(sorted(elsewhere))
            )
        )
        left -= elsewhere
    if left:
        causes.append(Cause("unexplained", None, "unknown", len(left), tuple(sorted(left))))
    return tuple(causes)


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
