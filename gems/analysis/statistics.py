"""Statistics over seeds and environments.

The interquartile mean, stratified bootstrap and probability of improvement are those of rliable,
computed with SciPy because rliable would add nine packages for these three statistics.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from gems.runtime.randomness import stream

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
    """Holm-adjusted p values of a family of tests; NaN stays NaN and does not count as a test."""
    tested = [i for i, p in enumerate(p_values) if not math.isnan(p)]
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(tested, key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(tested) - rank) * float(p_values[i])))
        adjusted[i] = largest
    return adjusted


def add_holm(table: pd.DataFrame) -> None:
    """Fill the column ``holm_p_value`` from ``p_value``, with a family of tests per environment."""
    for tests in dict(list(table.groupby("environment"))).values() if len(table) else ():
        adjusted = pd.Series(holm(tests["p_value"].to_list()), index=tests.index)
        table["holm_p_value"] = table["holm_p_value"].fillna(adjusted)


def hedges_g(a: Values, b: Values) -> float:
    """Hedges' g of ``a`` over ``b``: difference of means in pooled standard deviations.

    Includes the small-sample factor 1 - 3 / (4 (n + m) - 9). NaN if a side has fewer than 2 values
    or both have zero variance.
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
    """Interquartile mean of all values: the mean without the lowest and highest quarters."""
    return np.asarray(stats.trim_mean(np.concatenate(strata, axis=axis), 0.25, axis=axis))


def mean(*strata: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    return np.asarray(np.concatenate(strata, axis=axis).mean(axis=axis))


def probability_of_improvement(*strata: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Probability that a run of X beats a run of Y, averaged over environments; ties count half.

    Args:
        strata: values of X in each environment, then values of Y in each environment.
        axis: axis of the runs.
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
    """Percentile bootstrap interval; each stratum (environment) is resampled separately.

    NaN if a stratum has fewer than 2 values.
    """
    if min(map(len, strata)) < 2:
        return math.nan, math.nan
    result = stats.bootstrap(
        strata,
        statistic,
        n_resamples=RESAMPLES,
        vectorized=True,
        paired=False,
        confidence_level=confidence,
        method="percentile",
        rng=stream(0, "bootstrap"),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
