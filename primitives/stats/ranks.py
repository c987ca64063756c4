"""Two groups on a number, within strata: van Elteren's test and the probability of being larger.

The effect is Cliff's delta: P(value of a > value of b) - P(smaller), in [-1, 1]. Of a 0/1 value it is the difference of
shares, so numbers and properties can be ranked together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from primitives.stats.intervals import Z95

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEW_PAIRED = 10  # below this many traces on the smaller sides, outcomes are permuted instead of trusting the normal
PERMUTATIONS = 4_999
MANY_STRATA = 10  # from here on the interval comes from the spread over strata, else from DeLong's variance in each


@dataclass(frozen=True, slots=True)
class Ranked:
    """`strata`: how many hold both groups. NaN where none does."""

    delta: float
    low: float
    high: float
    p: float
    strata: int
    permuted: bool


def compare_ranks(value: Floats, in_a: NDArray[np.bool_], stratum: Ints, *, seed: int = 0) -> Ranked:
    """van Elteren (1960): rank sums within strata, weighted by 1 / (n + 1); with one stratum it is Mann-Whitney's test
    without continuity correction. NaN values must have been dropped.
    """
    from scipy.special import ndtr

    keep, s = _both_sides(in_a, stratum)
    value, a = value[keep], in_a[keep]
    if not len(value):
        return Ranked(np.nan, np.nan, np.nan, np.nan, 0, False)
    ranks = _midranks(value, s)
    n = np.bincount(s).astype(float)
    n1 = np.bincount(s, a).astype(float)
    n0 = n - n1
    centred = ranks - (n[s] + 1) / 2
    excess = np.bincount(s, centred * a)
    delta, weight = 2 * excess / (n1 * n0), n1 * n0 / (n + 1)
    variance = n1 * n0 / (n * np.maximum(n - 1, 1)) * np.bincount(s, centred**2) / (n + 1) ** 2
    statistic = (excess / (n + 1)).sum()
    if variance.sum() == 0:
        return Ranked(0.0, np.nan, np.nan, np.nan, len(n), False)
    permuted = np.minimum(n1, n0).sum() < FEW_PAIRED
    p = float(2 * ndtr(-abs(statistic) / np.sqrt(variance.sum())))
    if permuted:
        p = _permutation_p(statistic, centred / (n[s] + 1), a, s, seed)
    low, high = _interval(delta, weight, ranks, value, a, s)
    return Ranked(float((weight * delta).sum() / weight.sum()), low, high, p, len(n), bool(permuted))


def _both_sides(in_a: NDArray[np.bool_], stratum: Ints) -> tuple[NDArray[np.bool_], Ints]:
    """Mask of the traces in strata that hold both groups, and their strata renumbered from 0."""
    if not len(stratum):
        return np.zeros(0, dtype=bool), stratum
    n, n1 = np.bincount(stratum), np.bincount(stratum, in_a)
    keep = ((n1 > 0) & (n1 < n))[stratum]
    return keep, np.unique(stratum[keep], return_inverse=True)[1].astype(np.int64)


def _midranks(value: Floats, s: Ints) -> Floats:
    """Ranks from 1 within each stratum, ties sharing their mean."""
    order = np.lexsort((value, s))
    v, g = value[order], s[order]
    new = np.r_[True, (v[1:] != v[:-1]) | (g[1:] != g[:-1])]
    block = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    ends = np.r_[starts[1:], len(v)]
    offset = np.searchsorted(g, g, side="left")
    ranks = np.empty(len(v))
    ranks[order] = (starts[block] + ends[block] + 1) / 2 - offset
    return ranks


def _permutation_p(statistic: float, score: Floats, a: NDArray[np.bool_], s: Ints, seed: int) -> float:
    """Two-sided Monte Carlo p of exchanging group labels within strata; never zero."""
    rng = np.random.default_rng(seed)
    order = np.argsort(s, kind="stable")
    score, a, s = score[order], a[order].astype(float), s[order]
    hits = 0
    for _ in range(PERMUTATIONS):
        shuffled = np.lexsort((rng.random(len(s)), s))
        hits += abs(float(score[shuffled] @ a)) >= abs(statistic) - 1e-12
    return (hits + 1) / (PERMUTATIONS + 1)


def _interval(
    delta: Floats, weight: Floats, ranks: Floats, value: Floats, a: NDArray[np.bool_], s: Ints
) -> tuple[float, float]:
    """From many strata: how much they differ, each counted as one draw. From few: DeLong's variance in each."""
    from scipy.special import stdtrit

    middle = float((weight * delta).sum() / weight.sum())
    strata = len(delta)
    if strata >= MANY_STRATA:
        error = np.sqrt(strata / (strata - 1) * ((weight * (delta - middle)) ** 2).sum()) / weight.sum()
        # all strata agree: the rule of three over strata, on the scale from -1 to 1
        half = float(stdtrit(strata - 1, 0.975) * error) if error > 0 else 2 * (1 - 0.05 ** (1 / strata))
        return max(middle - half, -1.0), min(middle + half, 1.0)
    variance = (weight**2 * _delong(ranks, value, a, s)).sum() / weight.sum() ** 2
    # on Fisher's z, so that the interval stays inside [-1, 1]
    bounded = float(np.clip(middle, -0.999, 0.999))
    half = Z95 * np.sqrt(variance) / (1 - bounded**2)
    return float(np.tanh(np.arctanh(bounded) - half)), float(np.tanh(np.arctanh(bounded) + half))


def _delong(ranks: Floats, value: Floats, a: NDArray[np.bool_], s: Ints) -> Floats:
    """Variance of delta in each stratum (DeLong 1988, times four as delta = 2 AUC - 1).

    Where a side has one trace, or the groups do not overlap, that of Hanley and McNeil (1982) at an AUC kept off 0 and 1.
    """
    n = np.bincount(s).astype(float)
    n1 = np.bincount(s, a).astype(float)
    n0 = n - n1
    own = np.empty(len(ranks))
    own[a], own[~a] = _midranks(value[a], s[a]), _midranks(value[~a], s[~a])
    placement = np.where(a, (ranks - own) / n0[s], (ranks - own) / n1[s])
    parts = []
    for side, size in ((a, n1), (~a, n0)):
        mean = np.bincount(s[side], placement[side], len(n)) / size
        square = np.bincount(s[side], (placement[side] - mean[s[side]]) ** 2, len(n))
        parts.append(square / np.maximum(size - 1, 1) / size)
    variance = parts[0] + parts[1]
    auc = np.bincount(s, np.where(a, placement, 0), len(n)) / n1
    auc = (auc * n1 * n0 + 0.5) / (n1 * n0 + 1)
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    hanley = (auc * (1 - auc) + (n1 - 1) * (q1 - auc**2) + (n0 - 1) * (q2 - auc**2)) / (n1 * n0)
    return 4 * np.where((np.minimum(n1, n0) < 2) | (variance == 0), hanley, variance)
