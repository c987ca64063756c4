"""Many hypotheses at once: Benjamini-Hochberg's q and Tarone's filter of what can never be significant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def q_values(p: ArrayLike) -> NDArray[Any]:
    """Benjamini-Hochberg's adjusted p (1995). NaN (could not be tested) stays NaN and does not count as tried."""
    import numpy as np

    p = np.asarray(p, float)
    q = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    if len(tested):
        order = tested[np.argsort(p[tested], kind="stable")]
        scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
        q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return q


def testable(smallest_p: ArrayLike, alpha: float = 0.05) -> NDArray[Any]:
    """Mask of the hypotheses worth trying, by Tarone (1990).

    `smallest_p` is the least p each could reach given its margins. Keeps those with smallest_p <= alpha / K for
    the least K that at most K hypotheses satisfy; the rest could not be significant whatever the outcome, so
    leaving them out costs nothing and does not have to be corrected for.
    """
    import numpy as np

    least = np.asarray(smallest_p, float)
    ordered = np.sort(np.where(np.isnan(least), 1.0, least))
    for k in range(1, len(ordered) + 1):
        if np.searchsorted(ordered, alpha / k, side="right") <= k:
            return np.asarray(np.where(np.isnan(least), 1.0, least) <= alpha / k)
    return np.zeros(len(least), dtype=bool)
