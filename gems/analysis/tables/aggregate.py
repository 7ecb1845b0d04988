"""Statistics over environments and seeds, normalised by Random (0) and SAC+TopK (ideal) (1)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gems.analysis import names
from gems.analysis.layout import Sheet, formatted
from gems.analysis.runs import main_runs
from gems.analysis.scale import is_paper_scale, scale_note
from gems.analysis.statistics import (
    iqm,
    mean,
    probability_of_improvement,
    stratified_interval,
)
from gems.analysis.tables.table2 import table2
from gems.errors import GemsError
from gems.methods import NORMALISE_HIGH, NORMALISE_LOW, REFERENCE_METHOD

TITLES = {
    "iqm": "Interquartile mean of normalised returns",
    "mean": "Mean of normalised returns",
    "probability_of_improvement": "Probability that SAC+GeMS beats the method",
    "hedges_g": "Hedges' g of SAC+GeMS over the method",
    "welch_p": "p value of Welch's t-test against SAC+GeMS",
    "holm_p": "p value of Welch's t-test against SAC+GeMS, Holm-adjusted",
}
# Columns of Table 2 that are statistics of one environment, and their names here.
COMPARISONS = {"hedges_g": "hedges_g", "p_value": "welch_p", "holm_p_value": "holm_p"}
CAPTION = (
    "Interquartile mean and mean of test returns normalised by Random (0) and SAC+TopK (ideal) "
    "(1), and the probability that a run of SAC+GeMS beats one of the method, all with 95 % "
    "percentile intervals of a bootstrap over seeds, stratified by environment; then, by "
    "environment, Hedges' g of SAC+GeMS over each undisclosed method and the p values of Welch's "
    "t-test, raw and Holm-adjusted within the environment."
)

Strata = Sequence[NDArray[np.float64]]


def make(runs: pd.DataFrame) -> tuple[pd.DataFrame, Sheet]:
    runs = main_runs(runs)
    table = aggregate(runs)
    low, high = formatted(table["low"], ".3f"), formatted(table["high"], ".3f")
    value, is_p = formatted(table["value"], ".3f"), table["statistic"].str.endswith("_p")
    cells = {
        "Method": table["method"],
        "Environment": table["environment"],
        "Value": value.mask(is_p, formatted(table["value"], ".3g")),
        "95 % interval": (low + " to " + high).where(low != "", ""),
        "Environments": table["n_environments"].astype(str),
        "Runs": table["n_runs"].astype(str),
    }
    groups = table["statistic"].map(TITLES)
    return table, Sheet(
        pd.DataFrame(cells), CAPTION, scale_note(runs), text_columns=2, groups=groups
    )


def normalisers(runs: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Mean returns of Random and of SAC+TopK (ideal) by environment, where the latter is larger.

    Raises:
        GemsError: an environment lacks runs of one of the two.
    """
    means = runs.groupby(["environment", "method"])["test_return"].mean().unstack()
    means = means.reindex(columns=[NORMALISE_LOW, NORMALISE_HIGH])
    scales = {}
    for environment, (low, high) in zip(means.index, means.to_numpy(), strict=True):
        for method, value in ((NORMALISE_LOW, low), (NORMALISE_HIGH, high)):
            if math.isnan(value):
                raise GemsError(
                    f"Returns in {environment} are normalised by {NORMALISE_LOW} and "
                    f"{NORMALISE_HIGH}; results of {method} are missing."
                )
        if high > low:
            scales[environment] = (low, high)
    return scales


def aggregate(runs: pd.DataFrame) -> pd.DataFrame:
    """Tidy statistics of main runs.

    Columns: statistic (iqm, mean, probability_of_improvement, hedges_g, welch_p, holm_p), method,
    environment ("all": the n_environments of the method), value, low, high (95 %), n_environments,
    n_runs, paper_scale. iqm and mean leave out environments in which SAC+TopK (ideal) is no better
    than Random.

    Raises:
        GemsError: results of Random or SAC+TopK (ideal) are missing.
    """
    scales = normalisers(runs)
    returns = {method: _returns(runs, method) for method in names.order_of_methods(runs["method"])}
    rows = []
    for method, values in returns.items():
        if shared := [environment for environment in values if environment in scales]:
            strata = [(values[e] - scales[e][0]) / (scales[e][1] - scales[e][0]) for e in shared]
            rows += [
                _row(name, method, strata, len(shared), statistic)
                for name, statistic in (("iqm", iqm), ("mean", mean))
            ]
    reference = returns.pop(REFERENCE_METHOD, {})
    for method, values in returns.items():
        if shared := [environment for environment in reference if environment in values]:
            strata = [reference[e] for e in shared] + [values[e] for e in shared]
            name = "probability_of_improvement"
            rows.append(_row(name, method, strata, len(shared), probability_of_improvement))
    comparisons = table2(runs).rename(columns={"n_seeds": "n_runs", **COMPARISONS})
    compared = comparisons.melt(
        ["method", "environment", "n_runs"], list(COMPARISONS.values()), "statistic"
    )
    compared = compared.dropna(subset="value").assign(n_environments=1)
    table = pd.concat([pd.DataFrame(rows), compared], ignore_index=True)
    return table.assign(paper_scale=is_paper_scale(runs))


def _returns(runs: pd.DataFrame, method: str) -> dict[str, NDArray[np.float64]]:
    runs = runs[runs["method"] == method].sort_values("seed")
    cells = {
        e: runs[runs["environment"] == e] for e in names.order_of_environments(runs["environment"])
    }
    return {e: cell["test_return"].to_numpy(dtype=np.float64) for e, cell in cells.items()}


def _row(
    name: str, method: str, strata: Strata, n_environments: int, statistic: Any
) -> dict[str, Any]:
    low, high = stratified_interval(strata, statistic)
    return {
        "statistic": name,
        "method": names.label(method),
        "environment": "all",
        "value": float(statistic(*strata)),
        "low": low,
        "high": high,
        "n_environments": n_environments,
        "n_runs": sum(map(len, strata)),
    }
