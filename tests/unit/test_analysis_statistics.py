"""Statistics over seeds and environments agree with their definitions and with scipy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gems.analysis.statistics import (
    hedges_g,
    holm,
    iqm,
    mean,
    probability_of_improvement,
    stratified_interval,
)

returns = st.integers(0, 200_000).map(lambda total: total / 500)
samples = st.lists(returns, min_size=2, max_size=10).map(np.array)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(p_values)
def test_holm_rejects_what_the_step_down_procedure_rejects(values):
    adjusted = holm(values)
    for level in (0.01, 0.05, 0.2):
        order = sorted(range(len(values)), key=lambda i: values[i])
        rejected = set()
        for rank, i in enumerate(order):
            if values[i] * (len(values) - rank) > level:
                break
            rejected.add(i)
        assert {i for i, p in enumerate(adjusted) if p <= level} == rejected


@given(p_values)
def test_holm_never_lowers_a_p_value_nor_exceeds_bonferroni(values):
    for raw, adjusted in zip(values, holm(values), strict=True):
        assert raw <= adjusted <= min(1, len(values) * raw)


def test_holm_by_hand_and_a_missing_test_counts_for_nothing():
    assert holm([0.01, math.nan, 0.04, 0.03]) == pytest.approx(
        [0.03, math.nan, 0.06, 0.06], nan_ok=True
    )


@given(samples, samples)
def test_hedges_g_is_students_t_scaled(a, b):
    n, m = len(a), len(b)
    g = hedges_g(a, b)
    if np.ptp(a) == np.ptp(b) == 0:
        assert math.isnan(g)
        return
    t = stats.ttest_ind(a, b).statistic
    assert g == pytest.approx(t * math.sqrt(1 / n + 1 / m) * (1 - 3 / (4 * (n + m) - 9)), rel=1e-6)
    assert hedges_g(b, a) == pytest.approx(-g)


def test_one_seed_has_no_effect_size():
    assert math.isnan(hedges_g([1.0], [2.0, 3.0]))


def test_the_interquartile_mean_drops_a_quarter_of_all_runs_at_each_end():
    strata = np.array([0.0, 1.0, 2.0, 100.0]), np.array([3.0, 4.0, 5.0, -100.0])
    assert iqm(*strata) == pytest.approx((1 + 2 + 3 + 4) / 4)


@given(st.lists(samples, min_size=1, max_size=4))
def test_the_interquartile_mean_is_between_the_quartiles_of_all_runs(strata):
    values = np.concatenate(strata)
    assert values.min() - 1e-9 <= iqm(*strata) <= values.max() + 1e-9
    assert iqm(*(2 * x + 1 for x in strata)) == pytest.approx(2 * iqm(*strata) + 1)


@given(samples, samples, samples, samples)
def test_the_probability_of_improvement_is_mann_whitneys_u_by_pairs(a, b, c, d):
    one = stats.mannwhitneyu(a, c).statistic / (len(a) * len(c))
    two = stats.mannwhitneyu(b, d).statistic / (len(b) * len(d))
    assert probability_of_improvement(a, b, c, d) == pytest.approx((one + two) / 2)


@pytest.mark.filterwarnings("ignore::scipy.stats.DegenerateDataWarning")
@given(st.lists(samples, min_size=1, max_size=3), st.sampled_from([iqm, mean]))
def test_the_interval_lies_within_the_range_of_runs(strata, statistic):
    low, high = stratified_interval(strata, statistic)
    values = np.concatenate(strata)
    assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9


def test_the_bootstrap_is_stratified_by_environment():
    far_apart = [np.array([0.0, 0.0, 0.0]), np.array([100.0, 100.0, 100.0])]
    assert stratified_interval(far_apart, mean) == (50.0, 50.0)


def test_the_interval_of_a_mean_is_that_of_a_bootstrap_by_hand():
    rng = np.random.default_rng(3)
    strata = [rng.normal(10, 2, 12), rng.normal(30, 5, 8)]
    resampled = [
        np.concatenate([rng.choice(x, len(x)) for x in strata]).mean() for _ in range(4000)
    ]
    expected = np.percentile(resampled, [2.5, 97.5])
    assert stratified_interval(strata, mean) == pytest.approx(expected, abs=0.15)


def test_the_interval_of_an_improvement_resamples_both_sides():
    a, b = np.array([1.0, 3.0, 5.0, 7.0]), np.array([2.0, 4.0, 6.0, 8.0])
    low, high = stratified_interval([a, b], probability_of_improvement)
    assert low < probability_of_improvement(a, b) < high


def test_the_same_runs_give_the_same_interval_and_one_seed_gives_none():
    strata = [np.array([1.0, 2.0, 5.0]), np.array([2.0, 9.0])]
    assert stratified_interval(strata, iqm) == stratified_interval(strata, iqm)
    low, high = stratified_interval([*strata, np.array([1.0])], iqm)
    assert math.isnan(low)
    assert math.isnan(high)
