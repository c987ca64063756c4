"""The arithmetic against scipy and statsmodels, to 1e-9 where they have it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from primitives.stats import intervals, judged, multiplicity, ranks, strata

CLOSE = 1e-9


@st.composite
def tables(draw, strata_most=8, size_most=60):
    """(cells of one key, strata) with random margins and counts."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    count = draw(st.integers(1, strata_most))
    n = rng.integers(2, draw(st.integers(3, size_most)), count)
    y = rng.binomial(n, rng.uniform(0.05, 0.95, count))
    m = rng.binomial(n, rng.uniform(0.05, 0.95))
    a = rng.hypergeometric(y, n - y, m)
    keep = m > 0
    cells = strata.Cells(
        1, np.zeros(keep.sum(), int), np.flatnonzero(keep), m[keep].astype(float), a[keep].astype(float)
    )
    return cells, strata.Strata(n.astype(float), y.astype(float))


def squares(cells, within):
    n, y = within.n[cells.stratum], within.y[cells.stratum]
    return [
        np.array([[a, m - a], [yy - a, nn - yy - m + a]]) for a, m, yy, nn in zip(cells.a, cells.m, y, n, strict=True)
    ]


@given(st.integers(1, 400), st.data())
@settings(max_examples=60, deadline=None)
def test_intervals_of_one_share(n, data):
    k = data.draw(st.integers(0, n))
    assert np.allclose(intervals.wilson(k, n), proportion_confint(k, n, method="wilson"), atol=CLOSE)
    assert np.allclose(intervals.clopper_pearson(k, n), proportion_confint(k, n, method="beta"), atol=CLOSE)


@pytest.mark.parametrize(
    ("k", "n", "method", "low", "high"),
    [
        (0, 100, "rule of three", 0, 1 - 0.05**0.01),
        (7, 39, "Clopper-Pearson", *proportion_confint(7, 39, method="beta")),
        (7, 40, "Wilson", *proportion_confint(7, 40, method="wilson")),
        (12, 12, "Clopper-Pearson", *proportion_confint(12, 12, method="beta")),
        (0, 0, "none: no traces", 0, 1),
    ],
)
def test_the_method_fits_how_k_was_obtained(k, n, method, low, high):
    got = intervals.share(k, n)
    assert got[2] == method
    assert got[:2] == pytest.approx((low, high), abs=CLOSE)


def test_a_count_over_its_denominator_is_refused():
    with pytest.raises(ValueError, match="0 <= k <= n"):
        intervals.share(3, 2)


@given(st.integers(1, 80), st.integers(1, 80), st.data())
@settings(max_examples=60, deadline=None)
def test_newcombe(n1, n2, data):
    k1, k2 = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n2))
    difference, low, high = intervals.newcombe(k1, n1, k2, n2)
    expected = confint_proportions_2indep(k1, n1, k2, n2, method="newcomb", compare="diff")
    assert difference == pytest.approx(k1 / n1 - k2 / n2, abs=CLOSE)
    assert (low, high) == pytest.approx(expected, abs=1e-7)  # statsmodels' own Wilson clips nothing at 0 and 1


@given(tables(size_most=200))
@settings(max_examples=120, deadline=None)
def test_cochran_mantel_haenszel_and_the_pooled_odds_ratio(drawn):
    cells, within = drawn
    found = strata.association(cells, within)
    used = strata.informative(cells, within)
    if found.strata[0] and not found.exact[0]:
        reference = StratifiedTable(squares(used, within)).test_null_odds(correction=False).pvalue
        assert found.p[0] == pytest.approx(reference, abs=CLOSE)
    pooled = strata.odds_ratio(cells, within)[0]
    if not np.isnan(pooled):
        assert pooled == pytest.approx(StratifiedTable(squares(cells, within)).oddsratio_pooled, rel=1e-9)


@given(tables(strata_most=5, size_most=80))
@settings(max_examples=80, deadline=None)
def test_breslow_day(drawn):
    cells, within = drawn
    found = strata.heterogeneity(cells, within)[0]
    used = strata.informative(cells, within)
    pooled = strata.odds_ratio(cells, within)[0]
    if np.isnan(found) or abs(pooled - 1) < 1e-6:
        return
    reference = StratifiedTable(squares(used, within)).test_equal_odds(adjust=True).pvalue
    assert found == pytest.approx(reference, abs=1e-8)


@given(st.integers(2, 300), st.data())
@settings(max_examples=120, deadline=None)
def test_fisher_and_the_exact_test_in_one_stratum(n, data):
    y, m = data.draw(st.integers(1, n - 1)), data.draw(st.integers(1, n - 1))
    a = data.draw(st.integers(max(0, m + y - n), min(m, y)))
    reference = stats.fisher_exact([[a, m - a], [y - a, n - y - m + a]]).pvalue
    p, least = strata.fisher(np.array([float(a)]), np.array([float(m)]), np.array([float(y)]), np.array([float(n)]))
    assert p[0] == pytest.approx(reference, abs=CLOSE)
    ends = [max(0, m + y - n), min(m, y)]
    assert least[0] == pytest.approx(min(stats.hypergeom(n, y, m).pmf(ends)), abs=CLOSE)


def test_the_exact_test_is_the_permutation_within_strata():
    """Enumerated by hand: every way to deal the outcomes out within each of three tasks."""
    n, y, m = np.array([4, 4, 3]), np.array([2, 1, 1]), np.array([2, 3, 1])
    supports = [range(max(0, mm - (nn - yy)), min(mm, yy) + 1) for nn, yy, mm in zip(n, y, m, strict=True)]
    sums: dict[int, float] = {}
    for combination in np.array(np.meshgrid(*supports)).T.reshape(-1, 3):
        p = np.prod([stats.hypergeom(nn, yy, mm).pmf(x) for nn, yy, mm, x in zip(n, y, m, combination, strict=True)])
        sums[int(combination.sum())] = sums.get(int(combination.sum()), 0) + p
    for a in np.array(np.meshgrid(*supports)).T.reshape(-1, 3):
        cells = strata.Cells(1, np.zeros(3, int), np.arange(3), m.astype(float), a.astype(float))
        found = strata.association(cells, strata.Strata(n.astype(float), y.astype(float)))
        reference = sum(p for p in sums.values() if p <= sums[int(a.sum())] * (1 + 1e-7))
        assert found.exact[0]
        assert found.p[0] == pytest.approx(min(reference, 1), abs=CLOSE)


@given(tables())
@settings(max_examples=60, deadline=None)
def test_mantel_haenszel_differences_from_either_side(drawn):
    cells, within = drawn
    table = squares(cells, within)
    both = [t for t in table if t.sum(axis=1).all()]
    weights = np.array([t[0].sum() * t[1].sum() / t.sum() for t in both])
    differences = np.array([t[0, 0] / t[0].sum() - t[1, 0] / t[1].sum() for t in both])
    found = strata.risk_difference(cells, within)
    if len(both):
        assert found.value[0] == pytest.approx((weights * differences).sum() / weights.sum(), abs=CLOSE)
        assert found.low[0] - CLOSE <= found.value[0] <= found.high[0] + CLOSE
    else:
        assert np.isnan(found.value[0])
    y, n = within.y, within.n
    mixed = (y > 0) & (y < n)
    a, m = np.zeros(len(n)), np.zeros(len(n))
    a[cells.stratum], m[cells.stratum] = cells.a, cells.m
    shares = strata.share_difference(cells, within)
    if mixed.any() and len(cells.key):
        w = (y * (n - y) / n)[mixed]
        d = (a[mixed] / y[mixed]) - ((m - a)[mixed] / (n - y)[mixed])
        assert shares.value[0] == pytest.approx((w * d).sum() / w.sum(), abs=CLOSE)


def test_many_keys_at_once_are_each_as_alone():
    rng = np.random.default_rng(3)
    n = rng.integers(3, 9, 30).astype(float)
    y = np.floor(n * rng.uniform(0, 1, 30))
    within = strata.Strata(n, y)
    alone, parts = [], []
    for key in range(40):
        m = rng.binomial(n.astype(int), rng.uniform(0.05, 0.9))
        a = rng.hypergeometric(y.astype(int), (n - y).astype(int), m)
        keep = m > 0
        here = np.flatnonzero(keep)
        alone.append(
            strata.association(
                strata.Cells(1, np.zeros(len(here), int), here, m[keep].astype(float), a[keep].astype(float)), within
            ).p[0]
        )
        parts.append((np.full(len(here), key), here, m[keep].astype(float), a[keep].astype(float)))
    together = strata.Cells(40, *(np.concatenate(x) for x in zip(*parts, strict=True)))
    assert np.allclose(strata.association(together, within).p, alone, equal_nan=True, atol=CLOSE)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_benjamini_hochberg(p):
    assert np.allclose(multiplicity.q_values(p), multipletests(p, method="fdr_bh")[1], atol=CLOSE)
    assert np.allclose(multiplicity.q_values(p), stats.false_discovery_control(p), atol=CLOSE)


def test_what_could_not_be_tested_does_not_count_as_tried():
    q = multiplicity.q_values([0.01, np.nan, 0.04])
    assert q == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)


def test_tarone_keeps_what_could_be_significant():
    # with K = 2, two hypotheses can reach 0.05 / 2; a third that reaches 0.03 only would have to be corrected for
    assert multiplicity.testable([0.001, 0.02, 0.03, 0.2, np.nan]).tolist() == [True, True, False, False, False]
    assert multiplicity.testable([0.04]).tolist() == [True]
    assert not multiplicity.testable([0.3, 0.4]).any()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_rank_test_in_one_stratum_is_mann_whitney(seed):
    rng = np.random.default_rng(seed)
    value = rng.integers(0, 8, 60).astype(float)
    in_a = rng.random(60) < 0.4
    if not 10 <= in_a.sum() <= 50:
        return
    found = ranks.compare_ranks(value, in_a, np.zeros(60, int))
    reference = stats.mannwhitneyu(value[in_a], value[~in_a], method="asymptotic", use_continuity=False)
    assert found.p == pytest.approx(reference.pvalue, abs=CLOSE)
    assert found.delta == pytest.approx(2 * reference.statistic / (in_a.sum() * (~in_a).sum()) - 1, abs=CLOSE)
    assert -1 <= found.low <= found.delta <= found.high <= 1


def test_rank_test_within_strata_does_not_see_what_differs_between_them():
    """Long tasks are in a more often; within a task nothing differs."""
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(40), 6)
    long = task % 2 == 0
    value = rng.normal(size=240) + 5 * long
    in_a = rng.random(240) < np.where(long, 0.8, 0.2)
    crude = ranks.compare_ranks(value, in_a, np.zeros(240, int))
    within = ranks.compare_ranks(value, in_a, task)
    assert crude.p < 1e-6 and crude.delta > 0.3
    assert within.p > 0.05 and within.low < 0 < within.high


def test_a_number_is_permuted_where_few_traces_carry_the_test():
    value = np.array([1.0, 2, 3, 10, 11, 12])
    found = ranks.compare_ranks(value, np.array([False, False, False, True, True, True]), np.zeros(6, int))
    assert found.permuted
    assert found.p == pytest.approx(0.1, abs=0.02)  # 2 of 20 ways
    assert found.delta == 1


def test_bootstrap_over_tasks_is_wider_than_over_runs():
    rng = np.random.default_rng(1)
    task = np.repeat(np.arange(25), 8)
    value = (rng.random(25)[task] > 0.5).astype(float)
    _, low, high = intervals.bootstrap_over_groups(value, task)
    _, own_low, own_high = intervals.bootstrap_over_groups(value, np.arange(200))
    assert high - low > 2 * (own_high - own_low)
    same = intervals.bootstrap_over_groups(value, task, np.mean, resamples=500)
    assert same[1] == pytest.approx(low, abs=0.06) and same[2] == pytest.approx(high, abs=0.06)


def test_stratified_gold_corrects_a_judge_that_says_yes_too_often():
    found = judged.stratified_gold(400, 600, (25, 50), (1, 50))
    assert found.estimate == pytest.approx(0.4 * 0.5 + 0.6 * 0.02)
    assert found.low < found.estimate < found.high < 0.4
    assert (found.ppv, found.npv) == (0.5, 0.98)
    assert judged.stratified_gold(400, 600, (25, 50), (1, 50)) == found


def test_stratified_gold_of_everything_read_is_certain():
    found = judged.stratified_gold(4, 6, (3, 4), (1, 6))
    assert found.low == found.high == found.estimate == pytest.approx(0.4)


def test_a_judge_without_gold_gives_no_prevalence():
    with pytest.raises(ValueError, match="none of them has a gold label"):
        judged.stratified_gold(400, 600, (25, 50), (0, 0))


def test_rogan_gladen_and_ppi_undo_the_judges_bias():
    rng = np.random.default_rng(5)
    truth = rng.random(4000) < 0.2
    says = np.where(truth, rng.random(4000) < 0.85, rng.random(4000) < 0.1)
    gold = np.arange(4000) < 400
    power = judged.ppi(says[~gold], truth[gold], says[gold])
    other = truth[1000:1400], says[1000:1400]
    rogan = judged.rogan_gladen(
        int(says.sum()),
        4000,
        (int(other[1][other[0]].sum()), int(other[0].sum())),
        (int(other[1][~other[0]].sum()), int((~other[0]).sum())),
    )
    assert says.mean() > 0.24
    for found in (power, rogan):
        assert found.low < truth.mean() < found.high
        assert abs(found.estimate - truth.mean()) < 0.04


def test_a_judge_no_better_than_chance_is_refused():
    with pytest.raises(ValueError, match="no better than chance"):
        judged.rogan_gladen(50, 100, (10, 40), (30, 40))
