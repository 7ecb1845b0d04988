"""Statistics over seeds and environments (Sections 7 and 8, and beyond them).

The library rliable computes the same interquartile mean, stratified bootstrap and probability of
improvement; scipy does it here, as rliable would bring nine more packages for these three figures.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from gems.randomness import stream

RESAMPLES = 2000

Values = Sequence[float] | NDArray[np.float64]


def half_width(values: Values, confidence: float = 0.95) -> float:
    """Half-width of the Student-t confidence interval of the mean; NaN for fewer than 2 values."""
    n = len(values)
    if n < 2:
        return math.nan
    error = float(np.std(values, ddof=1)) / math.sqrt(n)
    return float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error


def welch_p(a: Values, b: Values) -> float:
    """Two-sided p value of Welch's t-test of equal means; NaN if a side has fewer than 2 values."""
    if len(a) < 2 or len(b) < 2:
        return math.nan
    if np.ptp(a) == np.ptp(b) == 0:
        return 1.0 if a[0] == b[0] else 0.0
    return float(stats.ttest_ind(a, b, equal_var=False).pvalue)


def holm(p_values: Values) -> list[float]:
    """Holm's adjusted p values of a family of tests; a NaN is no test and stays NaN."""
    tested = [i for i, p in enumerate(p_values) if not math.isnan(p)]
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(tested, key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(tested) - rank) * float(p_values[i])))
        adjusted[i] = largest
    return adjusted


def add_holm(table: pd.DataFrame) -> None:
    """Fill ``holm_p_value`` of a table from ``p_value``: the tests of one environment, a family."""
    for tests in dict(list(table.groupby("environment"))).values() if len(table) else ():
        adjusted = pd.Series(holm(tests["p_value"].to_list()), index=tests.index)
        table["holm_p_value"] = table["holm_p_value"].fillna(adjusted)


def hedges_g(a: Values, b: Values) -> float:
    """Hedges' g of ``a`` over ``b``: difference of means in pooled standard deviations.

    With the small-sample factor 1 - 3 / (4 (n + m) - 9). NaN if a side has fewer than 2 values or
    neither has any spread.
    """
    n, m = len(a), len(b)
    if n < 2 or m < 2:
        return math.nan
    pooled = ((n - 1) * np.var(a, ddof=1) + (m - 1) * np.var(b, ddof=1)) / (n + m - 2)
    if pooled == 0:
        return math.nan
    factor = 1 - 3 / (4 * (n + m) - 9)
    return float((np.mean(a) - np.mean(b)) / math.sqrt(pooled) * factor)


def iqm(*strata: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Interquartile mean of all values: the mean of the middle half, a quarter cut off each end."""
    return np.asarray(stats.trim_mean(np.concatenate(strata, axis=axis), 0.25, axis=axis))


def mean(*strata: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Mean of all values."""
    return np.asarray(np.concatenate(strata, axis=axis).mean(axis=axis))


def probability_of_improvement(*strata: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Probability that a run of X beats one of Y, ties by half, averaged over environments.

    Args:
        strata: values of X in each environment, then those of Y in each environment.
        axis: that of the runs; the last one is all that scipy asks for.
    """
    half = len(strata) // 2
    wins = []
    for x, y in zip(strata[:half], strata[half:], strict=True):
        x, y = np.moveaxis(x, axis, -1)[..., :, None], np.moveaxis(y, axis, -1)[..., None, :]
        wins.append(((x > y) + 0.5 * (x == y)).mean(axis=(-2, -1)))
    return np.asarray(np.mean(wins, axis=0))


def stratified_interval(
    strata: Sequence[NDArray[np.float64]],
    statistic: Callable[..., NDArray[np.float64]],
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval; every stratum, an environment, is resampled by itself.

    NaN if a stratum has fewer than 2 values.
    """
    if min(map(len, strata)) < 2:
        return math.nan, math.nan
    found = stats.bootstrap(
        strata,
        statistic,
        n_resamples=RESAMPLES,
        vectorized=True,
        paired=False,
        confidence_level=confidence,
        method="percentile",
        rng=stream(0, "bootstrap"),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
