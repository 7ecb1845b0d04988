"""Statistics over environments and seeds, normalised by Random (0) and SAC+TopK (ideal) (1)."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gems.analysis import layout
from gems.analysis.layout import Cell, Sheet
from gems.analysis.runs import main_runs, read_results
from gems.analysis.scale import is_paper_scale, scale_note
from gems.analysis.statistics import (
    iqm,
    mean,
    probability_of_improvement,
    stratified_interval,
)
from gems.analysis.tables import table2
from gems.errors import GemsError
from gems.registry import ENVIRONMENTS, METHODS, ONE, OURS, ZERO

NAMES = {
    "iqm": "Interquartile mean of normalised returns",
    "mean": "Mean of normalised returns",
    "probability_of_improvement": "Probability that SAC+GeMS beats the method",
    "hedges_g": "Hedges' g of SAC+GeMS over the method",
    "welch_p": "p value of Welch's test against SAC+GeMS",
    "holm_p": "The same by Holm's correction",
}
CAPTION = (
    "Interquartile mean and mean of test returns normalised by Random (0) and SAC+TopK (ideal) "
    "(1), and the probability that a run of SAC+GeMS beats one of the method, all with 95 % "
    "percentile intervals of a bootstrap over seeds, stratified by environment; then, by "
    "environment, Hedges' g of SAC+GeMS over each undisclosed method and the p values of Welch's "
    "test, raw and by Holm's correction within the environment."
)

Strata = list[NDArray[np.float64]]


def normalisers(runs: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Mean return of Random and of SAC+TopK (ideal) by environment, where the second is larger.

    Raises:
        GemsError: an environment lacks one of the two.
    """
    means = runs.groupby(["method", "environment"])["test_return"].mean()
    found = {}
    for environment in (e for e in ENVIRONMENTS if e in set(runs["environment"])):
        for method in (ZERO, ONE):
            if (method, environment) not in means:
                raise GemsError(
                    f"Returns in {environment} are normalised by {ZERO} and {ONE}; "
                    f"results of {method} are missing."
                )
        low, high = float(means[ZERO, environment]), float(means[ONE, environment])
        if high > low:
            found[environment] = (low, high)
    return found


def aggregate(runs: pd.DataFrame) -> pd.DataFrame:
    """Tidy statistics of main runs.

    Columns: statistic (iqm, mean, probability_of_improvement, hedges_g, welch_p, holm_p), method,
    environment ("all" over those that the method has, which n_environments counts), value, low,
    high (95 %), n_environments, n_runs, paper_scale. Environments in which SAC+TopK (ideal) is no
    better than Random cannot be normalised and are left out of iqm and mean.

    Raises:
        GemsError: results of Random or SAC+TopK (ideal) are missing.
    """
    scales = normalisers(runs)
    rows = []
    for method, entry in METHODS.items():
        of_method = _returns(runs, method)
        normalised = {
            e: (values - scales[e][0]) / (scales[e][1] - scales[e][0])
            for e, values in of_method.items()
            if e in scales
        }
        for name, statistic in (("iqm", iqm), ("mean", mean)):
            if normalised:
                strata = list(normalised.values())
                rows.append(_row(name, entry.label, strata, statistic))
    ours = _returns(runs, OURS)
    for method, entry in METHODS.items():
        theirs = _returns(runs, method)
        common = [e for e in ours if e in theirs]
        if method != OURS and common:
            strata = [ours[e] for e in common] + [theirs[e] for e in common]
            row = _row(
                "probability_of_improvement", entry.label, strata, probability_of_improvement
            )
            rows.append(row | {"n_environments": len(common)})
    table = pd.DataFrame([*rows, *_comparisons(runs)])
    return table.assign(paper_scale=is_paper_scale(runs))


def _returns(runs: pd.DataFrame, method: str) -> dict[str, NDArray[np.float64]]:
    """Test returns of a method by environment, in the order of seeds."""
    of_method = runs[runs["method"] == method].sort_values("seed")
    found = {e: of_method[of_method["environment"] == e]["test_return"] for e in ENVIRONMENTS}
    return {e: values.to_numpy(dtype=np.float64) for e, values in found.items() if len(values)}


def _row(name: str, label: str, strata: Strata, statistic: Any) -> dict[str, Any]:
    low, high = stratified_interval(strata, statistic)
    return {
        "statistic": name,
        "method": label,
        "environment": "all",
        "value": float(statistic(*strata)),
        "low": low,
        "high": high,
        "n_environments": len(strata),
        "n_runs": sum(map(len, strata)),
    }


def _comparisons(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Effect sizes and p values of Table 2, in the same columns."""
    table = table2(runs)
    columns = {"hedges_g": "hedges_g", "welch_p": "p_value", "holm_p": "holm_p_value"}
    return [
        {
            "statistic": name,
            "method": row["method"],
            "environment": row["environment"],
            "value": row[column],
            "low": math.nan,
            "high": math.nan,
            "n_environments": 1,
            "n_runs": row["n_seeds"],
        }
        for name, column in columns.items()
        for _, row in table.iterrows()
        if not math.isnan(row[column])
    ]


def write_aggregate(results: Iterable[Path], output: Path) -> list[Path]:
    """Write the statistics as CSV to ``output``, and as HTML beside it.

    Raises:
        GemsError: there is no result, or one cannot be used.
    """
    runs = main_runs(read_results(results))
    if not len(runs):
        raise GemsError("The statistics need at least one result file.")
    table = aggregate(runs)
    return layout.write(output, table, sheet(table, scale_note(runs)), ".html")


def sheet(table: pd.DataFrame, scale: str) -> Sheet:
    """The statistics as people read them, a group each."""
    columns = ["Method", "Environment", "Value", "95 % interval", "Environments", "Runs"]
    groups = []
    for name, title in NAMES.items():
        rows = []
        for _, row in table[table["statistic"] == name].iterrows():
            known = not math.isnan(row["low"])
            span = f"{row['low']:.3f} to {row['high']:.3f}" if known else ""
            value = f"{row['value']:.3f}"
            counts = str(row["n_environments"]), str(row["n_runs"])
            texts = [row["method"], row["environment"], value, span, *counts]
            rows.append([Cell(text) for text in texts])
        if rows:
            groups.append((title, rows))
    return Sheet("Statistics over environments", columns, groups, CAPTION, scale)
