"""Prevalence of what a model judged, corrected by gold labels. Shares in [0, 1], 95 % intervals, seeded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

DRAWS = 20_000
WIDEST = 0.5  # of an interval that still says something: one that spans more than half of all shares is not given


class TooFewReadings(ValueError):
    """Gold so small that the interval would say nothing; more readings give one."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """`ppv`: share of the judge's yes that is right; `npv`: of its no. NaN where the design does not give them."""

    estimate: float
    low: float
    high: float
    ppv: float
    npv: float
    method: str


def stratified_gold(
    n_yes: int, n_no: int, gold_yes: tuple[int, int], gold_no: tuple[int, int], *, seed: int = 0
) -> Corrected:
    """Prevalence when gold labels were drawn half from the judge's yes, half from its no.

    `gold_yes` = (gold positive, gold read) among the judge's yes, `gold_no` the same among its no.
    theta = P(yes) PPV + P(no) FOR; interval by Monte Carlo over Beta(k + 1/2, n - k + 1/2) in each stratum for the
    traces that were not read; those that were are counted. Raises ValueError where a non-empty stratum has
    no gold, the estimate being then the judge's word alone, and TooFewReadings where the interval is wider than WIDEST.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    total = n_yes + n_no
    if total == 0:
        raise ValueError("nothing was judged, so there is no prevalence to correct")
    shares, draws = [], []
    for name, size, (k, n) in (("yes", n_yes, gold_yes), ("no", n_no, gold_no)):
        if not 0 <= k <= n <= size:
            raise ValueError(f"gold among the judge's {name}: {k} of {n} does not fit into {size} judged")
        if size and not n:
            raise ValueError(f"{size} traces were judged {name} and none of them has a gold label: read some first")
        shares.append(k / n if n else 0.0)
        unread = rng.binomial(size - n, rng.beta(k + 0.5, n - k + 0.5, DRAWS))
        draws.append((k + unread) / size if size else np.zeros(DRAWS))
    weights = n_yes / total, n_no / total
    mixed = weights[0] * draws[0] + weights[1] * draws[1]
    low, high = np.quantile(mixed, [0.025, 0.975])
    if high - low > WIDEST:
        raise TooFewReadings(
            f"too few second readings ({gold_yes[1]} + {gold_no[1]}): the interval would be {low:.0%} to {high:.0%}"
        )
    estimate = weights[0] * shares[0] + weights[1] * shares[1]
    return Corrected(
        estimate=estimate,
        low=float(low),
        high=float(high),
        ppv=shares[0] if gold_yes[1] else float("nan"),
        npv=1 - shares[1] if gold_no[1] else float("nan"),
        method=f"stratified gold ({gold_yes[1]} + {gold_no[1]})",
    )


def rogan_gladen(
    k: int, n: int, gold_positive: tuple[int, int], gold_negative: tuple[int, int], *, z: float = 1.959963984540054
) -> Corrected:
    """Prevalence from a judge's k of n and its accuracy on other gold: (judged yes, read) of gold positive, negative.

    Delta-method interval (Rogan and Gladen 1978; arXiv 2511.21140). Raises ValueError where the judge is no better
    than chance, for then its counts say nothing.
    """
    import math

    sensitivity = (gold_positive[0] + 0.5) / (gold_positive[1] + 1)
    specificity = 1 - (gold_negative[0] + 0.5) / (gold_negative[1] + 1)
    youden = sensitivity + specificity - 1
    if youden <= 0:
        raise ValueError(f"the judge is no better than chance (sensitivity + specificity - 1 = {youden:.2f})")
    seen = k / n
    estimate = (seen + specificity - 1) / youden
    variance = (
        seen * (1 - seen) / n
        + estimate**2 * sensitivity * (1 - sensitivity) / (gold_positive[1] + 1)
        + (1 - estimate) ** 2 * specificity * (1 - specificity) / (gold_negative[1] + 1)
    ) / youden**2
    half = z * math.sqrt(variance)
    return _clipped(estimate, half, "Rogan-Gladen")


def ppi(judged: ArrayLike, gold: ArrayLike, judged_of_gold: ArrayLike, *, z: float = 1.959963984540054) -> Corrected:
    """Prediction-powered mean (PPI++, Angelopoulos 2023): gold is a simple random sample, 200 or more.

    `judged`: the judge's 0/1 over the traces without gold; `gold` and `judged_of_gold`: truth and judge on the sample.
    """
    import numpy as np

    f, y, g = (np.asarray(x, float) for x in (judged, gold, judged_of_gold))
    if len(y) < 2 or len(f) < 2:
        raise ValueError(f"needs at least two traces with gold and two without, got {len(y)} and {len(f)}")
    spread = np.var(np.concatenate([f, g]), ddof=1)
    power = np.cov(y, g)[0, 1] / ((1 + len(y) / len(f)) * spread) if spread > 0 else 0.0
    estimate = power * f.mean() + (y - power * g).mean()
    half = z * np.sqrt(power**2 * np.var(f, ddof=1) / len(f) + np.var(y - power * g, ddof=1) / len(y))
    return _clipped(float(estimate), float(half), "PPI++")


def _clipped(estimate: float, half: float, method: str) -> Corrected:
    middle, low, high = (min(max(x, 0.0), 1.0) for x in (estimate, estimate - half, estimate + half))
    return Corrected(middle, low, high, float("nan"), float("nan"), method)
