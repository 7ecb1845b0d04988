"""Table 2 with values from the paper and from independent runs of the released code."""

import math
from functools import partial
from typing import Any

import pandas as pd

from gems.analysis.layout import Sheet, formatted, intervals
from gems.analysis.names import label
from gems.analysis.reference_values import find, seeds, sources, value_of
from gems.analysis.runs import main_runs, option
from gems.analysis.scale import scale_note
from gems.analysis.tables.table2 import table2
from gems.config.variants import MYOPIC
from gems.errors import GemsError
from gems.methods import REFERENCE_METHOD

MYOPIC_LABEL = "SAC+GeMS (γ = 0)"
# Columns of Table 2 before and after the columns of the comparison.
BEFORE = ["method", "environment", "n_seeds", "mean", "half_width"]
AFTER = ["training_episodes", "test_users", "paper_scale"]
# Published values have one decimal.
ROUNDING = 0.05


def make(runs: pd.DataFrame) -> tuple[pd.DataFrame, Sheet]:
    table = table2_vs_paper(runs)
    low, high = (formatted(table[f"published_{end}"], "g") for end in ("low", "high"))
    published = formatted(table["published"], ".1f").mask(low != "", low + " to " + high)
    cells = {
        "Method": table["method"],
        "Environment": table["environment"],
        "Mean": intervals(table["mean"], table["half_width"]),
        "Published": published,
        "Difference": formatted(table["difference"], "+.1f"),
        "Published within interval": table["within_interval"].map({True: "yes", False: "no"}),
        f"Independent ({seeds('independent')})": formatted(table["independent"], ".1f"),
        "Difference from independent": formatted(table["difference_independent"], "+.1f"),
    }
    return table, Sheet(
        pd.DataFrame(cells).fillna(""), _caption(), scale_note(runs), text_columns=2
    )


def table2_vs_paper(runs: pd.DataFrame) -> pd.DataFrame:
    """Table 2 with reported values: one row per method and environment, then gamma = 0.

    Columns: method, environment, n_seeds, mean, half_width, published, published_low and
    published_high (a range over all environments), difference (mean minus published),
    within_interval, independent, independent_seeds, difference_independent (mean minus
    independent), training_episodes, test_users, paper_scale. Values are shown only for runs
    with the same settings (beta, lambda and gamma).

    Raises:
        GemsError: there is no main run, or the provenance of a run lacks the settings of a value.
    """
    rows = _rows(main_runs(runs))
    myopic = runs[(runs["variant"] == MYOPIC) & (runs["method"] == REFERENCE_METHOD)]
    if len(myopic):
        if (option(myopic, "agent", "gamma") != 0).any():
            raise GemsError(f"A run of variant {MYOPIC} has a discount factor other than 0.")
        rows += [row | {"method": MYOPIC_LABEL} for row in _rows(myopic)]
    return pd.DataFrame(rows).astype({"independent_seeds": "Int64"})


def _rows(runs: pd.DataFrame) -> list[dict[str, Any]]:
    methods = {label(method): method for method in runs["method"]}
    cells = dict(list(runs.groupby(["method", "environment"])))
    rows = []
    for _, row in table2(runs).iterrows():
        cell = methods[row["method"]], row["environment"]
        options = partial(option, cells[cell])
        published = find("published", *cell, options)
        independent = find("independent", *cell, options)
        difference, half_width = row["mean"] - value_of(published), row["half_width"]
        within = abs(difference) <= half_width + ROUNDING
        comparison = {
            "published": value_of(published),
            "published_low": value_of(published, "low"),
            "published_high": value_of(published, "high"),
            "difference": difference,
            "within_interval": None if math.isnan(difference + half_width) else bool(within),
            "independent": value_of(independent),
            "independent_seeds": None if independent is None else independent.seeds,
            "difference_independent": row["mean"] - value_of(independent),
        }
        rows.append({**row[BEFORE], **comparison, **row[AFTER]})
    return rows


def _caption() -> str:
    return (
        "Mean: mean test return of these runs ± half-width of the 95 % Student-t interval over "
        f"seeds. Published: {sources('published')}; for SAC+WkNN only the range over the six "
        "environments is known. Independent: test returns of the released code, run by another "
        f"researcher ({sources('independent')}); one seed does not determine a mean. A value is "
        "shown only beside runs with its β, λ and γ; a cell is empty where no value is known."
    )
