"""Table 2: mean test return of each method in each environment."""

import math
from typing import Any

import pandas as pd

from gems.analysis import names
from gems.analysis.layout import Sheet, intervals
from gems.analysis.runs import main_runs
from gems.analysis.scale import is_paper_scale, scale_note, scale_of_cell, span
from gems.analysis.statistics import add_holm, half_width, hedges_g, welch_p
from gems.methods import REFERENCE_METHOD

SIGNIFICANCE = 0.05
GROUPS = {True: "Disclosed env.", False: "Undisclosed env."}


def make(runs: pd.DataFrame) -> tuple[pd.DataFrame, Sheet]:
    runs = main_runs(runs)
    table = table2(runs)
    return table, sheet(table, scale_note(runs))


def table2(runs: pd.DataFrame) -> pd.DataFrame:
    """Tidy Table 2: one row per method and environment with runs, in the paper's order.

    Columns: method, group, environment, n_seeds, mean, half_width (95 %, Student t), p_value
    (Welch's test against SAC+GeMS, undisclosed methods only), significant, holm_p_value (adjusted
    for the tests in the environment), hedges_g (SAC+GeMS over the method), training_episodes,
    test_users, paper_scale. Values that need several seeds are NaN for one seed.

    Raises:
        GemsError: runs of one cell were made at different scales.
    """
    cells = dict(list(runs.groupby(["method", "environment"])))
    rows = [
        {
            "method": names.label(method),
            "group": GROUPS[names.is_disclosed(method)],
            "environment": environment,
            "n_seeds": len(cell),
            "mean": cell["test_return"].mean(),
            "half_width": half_width(cell["test_return"].to_list()),
            **_compared(method, cell, cells.get((REFERENCE_METHOD, environment))),
            **scale_of_cell(method, environment, cell),
            "paper_scale": is_paper_scale(cell),
        }
        for method in names.order_of_methods(runs["method"])
        for environment in names.order_of_environments(runs["environment"])
        if (cell := cells.get((method, environment))) is not None
    ]
    table = pd.DataFrame(rows)
    add_holm(table)
    return table


def _compared(method: str, cell: pd.DataFrame, reference: pd.DataFrame | None) -> dict[str, Any]:
    p_value = effect = math.nan
    if not names.is_disclosed(method) and method != REFERENCE_METHOD and reference is not None:
        returns = reference["test_return"].to_list(), cell["test_return"].to_list()
        p_value, effect = welch_p(*returns), hedges_g(*returns)
    known = not math.isnan(p_value)
    return {
        "p_value": p_value,
        "significant": p_value < SIGNIFICANCE if known else None,
        "holm_p_value": math.nan,
        "hedges_g": effect,
    }


def beats_all(table: pd.DataFrame, environment: str) -> bool:
    """Whether SAC+GeMS has a significantly larger mean than every other undisclosed method."""
    rows = table[(table["environment"] == environment) & (table["group"] == GROUPS[False])]
    is_reference = rows["method"] == names.label(REFERENCE_METHOD)
    reference, others = rows[is_reference], rows[~is_reference]
    if not len(reference) or not len(others):
        return False
    mean = reference["mean"].iloc[0]
    beaten = (others["significant"] == True) & (others["mean"] < mean)  # noqa: E712
    return bool(beaten.all())


def best_undisclosed(table: pd.DataFrame, environment: str) -> str | None:
    """The undisclosed method with the largest mean; None if there is only one or a tie."""
    rows = table[(table["environment"] == environment) & (table["group"] == GROUPS[False])]
    first = rows.sort_values("mean", ascending=False).head(2)
    return str(first["method"].iloc[0]) if first["mean"].nunique() == 2 else None


def sheet(table: pd.DataFrame, scale: str = "") -> Sheet:
    """Layout as in the paper: methods by group, one column per environment."""
    groups = table.drop_duplicates("method").set_index("method")["group"].sort_values(kind="stable")
    cells = pd.DataFrame({"Method": groups.index}, groups.index)
    bold = pd.DataFrame(False, groups.index, ["Method"])
    for environment in names.order_of_environments(table["environment"]):
        rows = table[table["environment"] == environment].set_index("method")
        shown = intervals(rows["mean"], rows["half_width"])
        if beats_all(table, environment):
            shown[names.label(REFERENCE_METHOD)] += " †"
        cells[environment] = shown.reindex(groups.index, fill_value="")
        bold[environment] = groups.index == best_undisclosed(table, environment)
    return Sheet(cells, _caption(table, cells, bold), scale, groups=groups, bold=bold)


def _caption(table: pd.DataFrame, cells: pd.DataFrame, bold: pd.DataFrame) -> str:
    several = table["n_seeds"].max() > 1
    interval = " ± half-width of the 95 % Student-t interval" if several else ""
    seeds = f"{span(table['n_seeds'])} seeds" if several else "1 seed"
    scale = [f"{span(table['test_users'])} test users"]
    if len(trained := table[table["training_episodes"] > 0]["training_episodes"]):
        scale.insert(0, f"{span(trained)} training episodes")
    sentences = [f"Mean test return{interval} over {seeds}; {', '.join(scale)}."]
    if cells.map(lambda text: text.endswith("†")).any(axis=None):
        sentences.append(
            "† SAC+GeMS beats all other undisclosed methods "
            f"(Welch's t-test, {100 * SIGNIFICANCE:g} %)."
        )
    if bold.any(axis=None):
        sentences.append("Bold: the best undisclosed method.")
    if (table["half_width"] == 0).any():
        sentences.append(
            "An interval of 0: all seeds share the test users, and the method draws nothing else."
        )
    return " ".join(sentences)
