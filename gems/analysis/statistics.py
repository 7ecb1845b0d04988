"""Statistics over seeds (Section 8 of the specification)."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats


def half_width(values: Sequence[float], confidence: float = 0.95) -> float:
    """Half-width of the Student-t confidence interval of the mean; NaN for fewer than 2 values."""
    n = len(values)
    if n < 2:
        return math.nan
    error = float(np.std(values, ddof=1)) / math.sqrt(n)
    return float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error


def welch_p(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p value of Welch's t-test of equal means; NaN if a side has fewer than 2 values."""
    if len(a) < 2 or len(b) < 2:
        return math.nan
    if np.ptp(a) == np.ptp(b) == 0:
        return 1.0 if a[0] == b[0] else 0.0
    return float(stats.ttest_ind(a, b, equal_var=False).pvalue)
