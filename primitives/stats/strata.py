"""Stratified 2 x 2 tables, thousands at once.

In a stratum (a task) there are `n` traces, `y` of them with the outcome. A property (key) is present in `m` of
them, `a` of those with the outcome. Only strata where a property is present at all are stored (`Cells`), so the cost
is that of the pairs of property and task that occur. Source of each method stands at its function.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from primitives.stats.intervals import Z95

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ENOUGH_FOR_NORMAL = 5.0  # Mantel and Fleiss (1980): below it the chi-square is not to be trusted, so exact
EXACT_CHUNK = 4_000_000  # complex numbers held at once by the exact test (64 MB)
FISHER_UP_TO = 5_000  # traces; beyond it the exact sum is long and the chi-square as good
TIE = 1 + 1e-7  # two tables as likely as each other, in floating point


@dataclass(frozen=True, slots=True)
class Strata:
    """Sizes and outcomes of the strata, as float arrays."""

    n: Floats
    y: Floats


@dataclass(frozen=True, slots=True)
class Cells:
    """One row per (key, stratum) where the key occurs, sorted by key; `key` is 0 .. n_keys - 1."""

    n_keys: int
    key: Ints
    stratum: Ints
    m: Floats
    a: Floats

    def sum(self, values: Floats) -> Floats:
        return np.asarray(np.bincount(self.key, weights=values, minlength=self.n_keys), dtype=np.float64)

    def only(self, mask: NDArray[np.bool_]) -> Cells:
        return Cells(self.n_keys, self.key[mask], self.stratum[mask], self.m[mask], self.a[mask])


def informative(cells: Cells, strata: Strata) -> Cells:
    """The cells of strata in which both the property and the outcome vary: the only ones a test can use."""
    n, y = strata.n[cells.stratum], strata.y[cells.stratum]
    return cells.only((cells.m > 0) & (cells.m < n) & (y > 0) & (y < n))


@dataclass(frozen=True, slots=True)
class Tested:
    """Per key: two-sided p (NaN where no stratum is informative), the least p its margins allow, how it was got."""

    p: Floats
    least_p: Floats
    exact: NDArray[np.bool_]
    strata: Ints


def association(cells: Cells, strata: Strata) -> Tested:
    """Cochran-Mantel-Haenszel without continuity correction; exact where the tables are small.

    The exact test is the permutation of outcomes within strata, its distribution computed in full (a convolution of
    hypergeometrics); it replaces the chi-square where the Mantel-Fleiss criterion is 5 or less. With one stratum it is
    Fisher's test.
    """
    from scipy.special import chdtrc

    used = informative(cells, strata)
    n, y = strata.n[used.stratum], strata.y[used.stratum]
    expected = used.m * y / n
    variance = used.m * (n - used.m) * y * (n - y) / (n * n * np.maximum(n - 1, 1))
    least, most = np.maximum(0, used.m - (n - y)), np.minimum(used.m, y)
    sums = [used.sum(v) for v in (used.a, expected, variance, least, most)]
    count = np.bincount(used.key, minlength=cells.n_keys)
    total, mean, spread, low, high = sums
    fleiss = np.minimum(mean - low, high - mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = chdtrc(1, (total - mean) ** 2 / spread)
        least_p = chdtrc(1, np.maximum(high - mean, mean - low) ** 2 / spread)
    p[count == 0] = least_p[count == 0] = np.nan
    small = (count > 0) & (fleiss <= ENOUGH_FOR_NORMAL)
    if small.any():
        rows = small[used.key]
        exact_p, exact_least = _exact(used.only(rows), n[rows], y[rows], least[rows], most[rows])
        p[small], least_p[small] = exact_p[small], exact_least[small]
    return Tested(p, least_p, small, count)


def _exact(cells: Cells, n: Floats, y: Floats, least: Floats, most: Floats) -> tuple[Floats, Floats]:
    """Two-sided p (all tables no likelier than the one seen) and the least p possible, per key.

    The sum's distribution is the product of the strata's characteristic functions, inverted by FFT; the strata's
    own are computed once per distinct (n, y, m).
    """
    p = np.full(cells.n_keys, np.nan)
    least_p = np.full(cells.n_keys, np.nan)
    margins, shape = np.unique(np.stack([n, y, cells.m]), axis=1, return_inverse=True)
    probabilities = _hypergeometric(margins, int((most - least).max()) + 1)
    reach = cells.sum(most - least)
    seen = cells.sum(cells.a - least)
    last = (most - least).astype(int)
    with np.errstate(divide="ignore"):  # a probability below the smallest float
        ends = np.log(probabilities[shape, 0]), np.log(probabilities[shape, last])
    keys, starts = np.unique(cells.key, return_index=True)
    stops = np.append(starts[1:], len(cells.key))
    size = 1 << int(np.ceil(np.log2(reach[keys].max() + 1)))
    transform = np.fft.rfft(probabilities, n=size, axis=1)
    per_chunk = max(1, EXACT_CHUNK // transform.shape[1])
    first = 0
    while first < len(keys):
        last_key = max(first + 1, int(np.searchsorted(stops, starts[first] + per_chunk, side="right")))
        rows = slice(starts[first], stops[last_key - 1])
        offsets = starts[first:last_key] - starts[first]
        product = np.multiply.reduceat(transform[shape[rows]], offsets, axis=0)
        pmf = np.clip(np.fft.irfft(product, n=size, axis=1), 0, 1)
        group = keys[first:last_key]
        observed = pmf[np.arange(len(group)), seen[group].astype(int)]
        p[group] = np.minimum(np.where(pmf <= observed[:, None] * TIE, pmf, 0).sum(axis=1), 1)
        least_p[group] = np.exp(
            np.minimum(np.add.reduceat(ends[0][rows], offsets), np.add.reduceat(ends[1][rows], offsets))
        )
        first = last_key
    return np.maximum(p, least_p), least_p


def _hypergeometric(margins: NDArray[np.float64], width: int) -> Floats:
    """P(present and outcome = least + j) for j < width, one row per column (n, y, m) of `margins`."""
    from scipy.special import gammaln

    n, y, m = (row[:, None] for row in margins.astype(np.int64))
    least, most = np.maximum(0, m - (n - y)), np.minimum(m, y)
    x = least + np.arange(width)[None, :]
    inside = x <= most
    x = np.where(inside, x, least)
    log_factorial = gammaln(np.arange(n.max() + 1) + 1.0)

    def choose(top: Ints, bottom: Ints) -> Floats:
        return np.asarray(log_factorial[top] - log_factorial[bottom] - log_factorial[top - bottom])

    return np.where(inside, np.exp(choose(y, x) + choose(n - y, m - x) - choose(n, m)), 0.0)


def fisher(a: Floats, m: Floats, y: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Fisher's two-sided p, and the least its margins allow, of many unstratified tables, one per element.

    Chi-square (no correction) over more than 5,000 traces where every expected count is 20 or more.
    """
    from scipy.special import chdtrc

    keys = np.arange(len(m))
    cells = Cells(len(m), keys, keys, np.asarray(m, float), np.asarray(a, float))
    usable = (cells.m > 0) & (cells.m < n) & (y > 0) & (y < n)
    p, least_p = np.full(len(m), np.nan), np.full(len(m), np.nan)
    smallest = np.minimum(cells.m, n - cells.m) * np.minimum(y, n - y) / np.maximum(n, 1)
    big = usable & (smallest >= 20) & (n > FISHER_UP_TO)
    if big.any():
        m_, n_, y_ = cells.m[big], n[big], y[big]
        p[big] = chdtrc(1, (cells.a[big] - m_ * y_ / n_) ** 2 * n_**3 / (m_ * (n_ - m_) * y_ * (n_ - y_)))
        least_p[big] = 0.0
    few = usable & ~big
    if few.any():
        used = cells.only(few)
        least, most = np.maximum(0, used.m - (n[few] - y[few])), np.minimum(used.m, y[few])
        exact_p, exact_least = _exact(used, n[few], y[few], least, most)
        p[few], least_p[few] = exact_p[few], exact_least[few]
    return p, least_p


@dataclass(frozen=True, slots=True)
class Effect:
    """Per key: estimate with a 95 % interval; NaN where no stratum has both groups."""

    value: Floats
    low: Floats
    high: Floats


def risk_difference(cells: Cells, strata: Strata) -> Effect:
    """Share with the outcome where the property is present minus where absent, Mantel-Haenszel over strata.

    Interval: Klingenberg (2014), which inverts the score with Sato's variance and so holds in tiny strata.
    """
    n, y = strata.n[cells.stratum], strata.y[cells.stratum]
    n1, n0, a, c = cells.m, n - cells.m, cells.a, y - cells.a
    return _klingenberg(*(cells.sum(v) for v in _sato(n1, n0, a, c)))


def share_difference(cells: Cells, strata: Strata) -> Effect:
    """Share with the property among traces with the outcome minus among those without, over strata; same interval."""
    n, y = strata.n[cells.stratum], strata.y[cells.stratum]
    here = [cells.sum(v) for v in _sato(y, n - y, cells.a, cells.m - cells.a)]
    nothing = np.zeros_like(strata.n)
    absent = _sato(strata.y, strata.n - strata.y, nothing, nothing)
    in_present_strata = [cells.sum(v[cells.stratum]) for v in absent]
    return _klingenberg(
        *(whole.sum() - part + own for whole, part, own in zip(absent, in_present_strata, here, strict=True))
    )


def _sato(n1: Floats, n0: Floats, a: Floats, c: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Per stratum: the numerator and weight of the Mantel-Haenszel difference, and the P and Q of Sato's variance."""
    n = n1 + n0
    weight = n1 * n0 / n
    return (
        (a * n0 - c * n1) / n,
        weight,
        (n1 * n1 * c - n0 * n0 * a + n1 * n0 * (n0 - n1) / 2) / (n * n),
        (a * (n0 - c) + c * (n1 - a)) / (2 * n),
    )


def _klingenberg(numerator: Floats, weight: Floats, p: Floats, q: Floats) -> Effect:
    with np.errstate(invalid="ignore", divide="ignore"):
        value = numerator / weight
        middle = value + 0.5 * Z95**2 * p / weight**2
        half = np.sqrt(np.maximum(middle**2 - value**2 + Z95**2 * q / weight**2, 0))
    value = np.where(weight > 0, value, np.nan)
    return Effect(value, np.clip(middle - half, -1, 1), np.clip(middle + half, -1, 1))


def odds_ratio(cells: Cells, strata: Strata) -> Floats:
    """Mantel-Haenszel's pooled odds ratio; NaN where the tables do not bound it."""
    n, y = strata.n[cells.stratum], strata.y[cells.stratum]
    a, b = cells.a, cells.m - cells.a
    c, d = y - cells.a, (n - y) - b
    above, below = cells.sum(a * d / n), cells.sum(b * c / n)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((above > 0) & (below > 0), above / below, np.nan)


def heterogeneity(cells: Cells, strata: Strata) -> Floats:
    """Breslow-Day's p with Tarone's correction: does the odds ratio differ between strata? NaN where untestable.

    It needs strata of some size; over tasks run four times each it says little either way.
    """
    from scipy.special import chdtrc

    used = informative(cells, strata)
    pooled = odds_ratio(cells, strata)
    n, y, ratio = strata.n[used.stratum], strata.y[used.stratum], pooled[used.key]
    m, excess = used.m, ratio - 1
    linear = (n - y - m) + ratio * (y + m)
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(np.maximum(linear**2 - 4 * excess * ratio * m * y, 0))
        expected = np.where(np.abs(excess) < 1e-12, m * y / n, (linear - root) / (2 * excess))
        variance = 1 / (1 / expected + 1 / (m - expected) + 1 / (y - expected) + 1 / (n - y - m + expected))
        statistic = used.sum((used.a - expected) ** 2 / variance)
        statistic -= used.sum(used.a - expected) ** 2 / used.sum(variance)
    count = np.bincount(used.key, minlength=cells.n_keys)
    return np.where((count > 1) & ~np.isnan(pooled), chdtrc(np.maximum(count - 1, 1), statistic), np.nan)


def haldane(a: Floats, m: Floats, y: Floats, n: Floats) -> Floats:
    """Unstratified odds ratio with one half added to each cell."""
    return (a + 0.5) * (n - y - m + a + 0.5) / ((m - a + 0.5) * (y - a + 0.5))
