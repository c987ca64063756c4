"""Intervals for one proportion and for the difference of two. k, n are counts; results are shares in [0, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Z95 = 1.959963984540054
WILSON_FROM = 40  # below this n Wilson's coverage dips under nominal near 0 and 1: Clopper-Pearson


def wilson(k: ArrayLike, n: ArrayLike, z: float = Z95) -> tuple[NDArray[Any], NDArray[Any]]:
    """Wilson's score interval, vectorised; n = 0 gives (0, 1)."""
    import numpy as np

    k, n = np.asarray(k, float), np.asarray(n, float)
    safe = np.where(n > 0, n, 1)
    share = k / safe
    centre = (share + z * z / (2 * safe)) / (1 + z * z / safe)
    half = z / (1 + z * z / safe) * np.sqrt(share * (1 - share) / safe + z * z / (4 * safe * safe))
    low = np.where((n > 0) & (k > 0), np.maximum(centre - half, 0), 0.0)
    high = np.where((n > 0) & (k < n), np.minimum(centre + half, 1), 1.0)
    return low, high


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval: never under-covers, wider than it need be."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return low, high


def share(k: int, n: int) -> tuple[float, float, str]:
    """(low, high, method) of k of n at 95 %, by the rule of statistics: see the method's name.

    0 of n: rule of three (at most 1 - 0.05**(1/n), about 3/n, one-sided); n < 40: Clopper-Pearson; else Wilson.
    """
    if not 0 <= k <= n:
        raise ValueError(f"k of n needs 0 <= k <= n, got k={k}, n={n}")
    if n == 0:
        return 0.0, 1.0, "none: no traces"
    if k == 0:
        return 0.0, 1 - 0.05 ** (1 / n), "rule of three"
    if n < WILSON_FROM:
        return *clopper_pearson(k, n), "Clopper-Pearson"
    low, high = wilson(k, n)
    return float(low), float(high), "Wilson"


def newcombe(
    k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike, z: float = Z95
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(difference, low, high) of k1/n1 - k2/n2, Newcombe's hybrid score interval (1998, method 10); NaN where n = 0."""
    import numpy as np

    k1, n1, k2, n2 = (np.asarray(x, float) for x in (k1, n1, k2, n2))
    low1, high1 = wilson(k1, n1, z)
    low2, high2 = wilson(k2, n2, z)
    with np.errstate(invalid="ignore", divide="ignore"):
        p1, p2 = k1 / n1, k2 / n2
    difference = p1 - p2
    low = difference - np.sqrt((p1 - low1) ** 2 + (high2 - p2) ** 2)
    high = difference + np.sqrt((high1 - p1) ** 2 + (p2 - low2) ** 2)
    return difference, low, high


def bootstrap_over_groups(
    values: ArrayLike,
    groups: ArrayLike,
    statistic: Callable[[np.ndarray], float] | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """(estimate, low, high): whole groups (tasks, sessions) are drawn with replacement, percentile interval.

    The mean is vectorised; any other `statistic` of the drawn values is called once per resample.
    """
    import numpy as np

    values = np.asarray(values, float)
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    n_groups = int(codes.max()) + 1
    rng = np.random.default_rng(seed)
    if statistic is None:
        sums, sizes = np.bincount(codes, values), np.bincount(codes).astype(float)
        weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=resamples).astype(float)
        draws = (weights @ sums) / (weights @ sizes)
        estimate = float(values.mean())
    else:
        members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
        picks = rng.integers(n_groups, size=(resamples, n_groups))
        draws = np.array([statistic(values[np.concatenate([members[g] for g in row])]) for row in picks])
        estimate = float(statistic(values))
    low, high = np.quantile(draws, [0.025, 0.975])
    return estimate, float(low), float(high)
