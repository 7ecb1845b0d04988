"""Table 2: mean test return of each method in each environment (Section 8)."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from gems.analysis import layout
from gems.analysis.layout import Cell, Sheet
from gems.analysis.runs import main_runs, read_results
from gems.analysis.scale import is_paper_scale, scale_note
from gems.analysis.statistics import add_holm, half_width, hedges_g, welch_p
from gems.errors import GemsError
from gems.registry import ENVIRONMENTS, METHODS, OURS

SIGNIFICANCE = 0.05
GROUPS = {True: "Disclosed env.", False: "Undisclosed env."}


def table2(results: pd.DataFrame) -> pd.DataFrame:
    """Tidy Table 2: one row a method and environment that has results, in the paper's order.

    Columns: method, group, environment, n_seeds, mean, half_width (95 %, Student t), p_value
    (Welch's test against SAC+GeMS, undisclosed methods only), significant, holm_p_value (adjusted
    for the tests in the environment), hedges_g (SAC+GeMS over the method), training_episodes,
    test_users, paper_scale. What one seed cannot tell is empty.

    Raises:
        GemsError: runs of one cell were made at different scales.
    """
    cells = dict(list(results.groupby(["method", "environment"])))
    rows = []
    for method, entry in METHODS.items():
        for environment in ENVIRONMENTS:
            cell = cells.get((method, environment))
            if cell is None:
                continue
            ours = cells.get((OURS, environment))
            rows.append(
                {
                    "method": entry.label,
                    "group": GROUPS[entry.disclosed],
                    "environment": environment,
                    "n_seeds": len(cell),
                    "mean": cell["test_return"].mean(),
                    "half_width": half_width(cell["test_return"].to_list()),
                    **_compared(method, cell, ours),
                    **scale_of_cell(method, environment, cell),
                    "paper_scale": is_paper_scale(cell),
                }
            )
    table = pd.DataFrame(rows)
    add_holm(table)
    return table


def _compared(method: str, cell: pd.DataFrame, ours: pd.DataFrame | None) -> dict[str, Any]:
    p_value = effect = math.nan
    if not METHODS[method].disclosed and method != OURS and ours is not None:
        returns = ours["test_return"].to_list(), cell["test_return"].to_list()
        p_value, effect = welch_p(*returns), hedges_g(*returns)
    known = not math.isnan(p_value)
    return {
        "p_value": p_value,
        "significant": p_value < SIGNIFICANCE if known else None,
        "holm_p_value": math.nan,
        "hedges_g": effect,
    }


def scale_of_cell(method: str, environment: str, cell: pd.DataFrame) -> dict[str, Any]:
    """The training episodes and test users that the runs of a cell have in common.

    Raises:
        GemsError: they differ.
    """
    scale = {}
    for field in ("training_episodes", "test_users"):
        values = sorted(set(cell[field]))
        if len(values) > 1:
            raise GemsError(f"Runs of {method} in {environment} differ in {field}: {values}.")
        scale[field] = values[0]
    return scale


def beats_all(table: pd.DataFrame, environment: str) -> bool:
    """Whether SAC+GeMS has a significantly larger mean than every other undisclosed method."""
    rows = table[(table["environment"] == environment) & (table["group"] == GROUPS[False])]
    ours = rows[rows["method"] == METHODS[OURS].label]
    others = rows[rows["method"] != METHODS[OURS].label]
    if not len(ours) or not len(others):
        return False
    beaten = (others["significant"] == True) & (others["mean"] < ours["mean"].iloc[0])  # noqa: E712
    return bool(beaten.all())


def best_undisclosed(table: pd.DataFrame, environment: str) -> str | None:
    """The undisclosed method with the largest mean, if there are two and no tie."""
    rows = table[(table["environment"] == environment) & (table["group"] == GROUPS[False])]
    means = rows["mean"].sort_values(ascending=False).to_list()
    if len(means) < 2 or means[0] == means[1]:
        return None
    return str(rows.sort_values("mean")["method"].iloc[-1])


def sheet(table: pd.DataFrame, scale: str = "") -> Sheet:
    """The paper's layout: methods by group, a column an environment, dagger and bold."""
    environments = [e for e in ENVIRONMENTS if e in set(table["environment"])]
    groups = []
    for group in GROUPS.values():
        methods = dict.fromkeys(table[table["group"] == group]["method"])
        rows = [[Cell(m), *(_cell(table, m, e) for e in environments)] for m in methods]
        groups.append((group, rows))
    return Sheet("Table 2", ["Method", *environments], groups, _caption(table), scale)


def to_markdown(table: pd.DataFrame, scale: str = "") -> str:
    """Table 2 in Markdown."""
    return layout.to_markdown(sheet(table, scale))


def _cell(table: pd.DataFrame, method: str, environment: str) -> Cell:
    rows = table[(table["method"] == method) & (table["environment"] == environment)]
    if not len(rows):
        return Cell("")
    row = rows.iloc[0]
    return Cell(
        layout.interval(row["mean"], row["half_width"]),
        bold=best_undisclosed(table, environment) == method,
        dagger=method == METHODS[OURS].label and beats_all(table, environment),
    )


def _caption(table: pd.DataFrame) -> str:
    def span(values: pd.Series) -> str:
        low, high = values.min(), values.max()
        return f"{low:,}" if low == high else f"{low:,} to {high:,}"

    trained = table[table["training_episodes"] > 0]["training_episodes"]
    training = f"{span(trained)} training episodes, " if len(trained) else ""
    no_interval = bool((table["half_width"] == 0).any())
    return (
        f"Mean test return ± half-width of the 95 % Student-t interval over "
        f"{span(table['n_seeds'])} seeds; {training}{span(table['test_users'])} test users. "
        "† SAC+GeMS beats all other undisclosed methods (Welch's t-test, 5 %). "
        "Bold: the best undisclosed method."
        + " An interval of 0: all seeds share the test users, and the method draws nothing else."
        * no_interval
    )


def write_table2(results: Iterable[Path], output: Path) -> list[Path]:
    """Write Table 2 as CSV to ``output``, and as Markdown, LaTeX and HTML beside it.

    Raises:
        GemsError: there is no result, or one cannot be used.
    """
    runs = main_runs(read_results(results))
    if not len(runs):
        raise GemsError("Table 2 needs at least one result file.")
    table = table2(runs)
    return layout.write(output, table, sheet(table, scale_note(runs)), ".md", ".tex", ".html")
