"""Table 2: mean test return of each method in each environment (Section 8)."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gems.analysis.statistics import half_width, welch_p
from gems.errors import GemsError
from gems.files import read_json, written_whole
from gems.registry import ENVIRONMENTS, METHODS

OURS = "SAC+GeMS"
SIGNIFICANCE = 0.05
GROUPS = {True: "Disclosed env.", False: "Undisclosed env."}


class Result(BaseModel):
    """What Table 2 takes of a result file."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    method: str
    environment: str
    seed: int
    test_return: float
    training_episodes: int = Field(ge=0)
    test_users: int = Field(gt=0)


def read_results(paths: Iterable[Path]) -> pd.DataFrame:
    """One row a run from result files.

    Raises:
        GemsError: a file is missing, damaged or of an unknown method, or two are of one run.
    """
    rows = []
    for path in paths:
        try:
            result = Result.model_validate(read_json(path))
        except ValidationError:
            raise GemsError(f"{path} is not the result of a run.") from None
        if result.method not in METHODS or result.environment not in ENVIRONMENTS:
            raise GemsError(f"{path} is of an unknown method or environment.")
        rows.append(result.model_dump())
    results = pd.DataFrame(rows, columns=list(Result.model_fields))
    twice = results[results.duplicated(["method", "environment", "seed"])]
    if len(twice):
        raise GemsError("Two results are of one run: {}, {}, {}.".format(*twice.iloc[0, :3]))
    return results


def table2(results: pd.DataFrame) -> pd.DataFrame:
    """Tidy Table 2: one row a method and environment that has results, in the paper's order.

    Columns: method, group, environment, n_seeds, mean, half_width (95 %, Student t), p_value
    (Welch's test against SAC+GeMS, undisclosed methods only), significant, training_episodes,
    test_users. What one seed cannot tell is empty.

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
                    **_scale(method, environment, cell),
                }
            )
    return pd.DataFrame(rows)


def _compared(method: str, cell: pd.DataFrame, ours: pd.DataFrame | None) -> dict[str, Any]:
    p_value = math.nan
    if not METHODS[method].disclosed and method != OURS and ours is not None:
        p_value = welch_p(ours["test_return"].to_list(), cell["test_return"].to_list())
    known = not math.isnan(p_value)
    return {"p_value": p_value, "significant": p_value < SIGNIFICANCE if known else None}


def _scale(method: str, environment: str, cell: pd.DataFrame) -> dict[str, Any]:
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


def to_markdown(table: pd.DataFrame) -> str:
    """The paper's layout: methods by group, a column an environment, a dagger where it holds."""
    environments = [e for e in ENVIRONMENTS if e in set(table["environment"])]
    lines = [
        "| Method | " + " | ".join(environments) + " |",
        "| --- |" + " ---: |" * len(environments),
    ]
    for group in GROUPS.values():
        lines.append(f"| **{group}** |" + " |" * len(environments))
        rows = table[table["group"] == group]
        for method in dict.fromkeys(rows["method"]):
            cells = [_cell(table, method, environment) for environment in environments]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", _caption(table), ""])


def _cell(table: pd.DataFrame, method: str, environment: str) -> str:
    rows = table[(table["method"] == method) & (table["environment"] == environment)]
    if not len(rows):
        return ""
    row = rows.iloc[0]
    interval = "" if math.isnan(row["half_width"]) else f" ± {row['half_width']:.1f}"
    dagger = " †" if method == METHODS[OURS].label and beats_all(table, environment) else ""
    return f"{row['mean']:.1f}{interval}{dagger}"


def _caption(table: pd.DataFrame) -> str:
    def span(values: pd.Series) -> str:
        low, high = values.min(), values.max()
        return f"{low:,}" if low == high else f"{low:,} to {high:,}"

    trained = table[table["training_episodes"] > 0]["training_episodes"]
    training = f"{span(trained)} training episodes, " if len(trained) else ""
    return (
        f"Mean test return ± half-width of the 95 % Student-t interval over "
        f"{span(table['n_seeds'])} seeds; {training}{span(table['test_users'])} test users. "
        "† SAC+GeMS beats all other undisclosed methods (Welch's t-test, 5 %)."
    )


def write_table2(results: Iterable[Path], output: Path) -> None:
    """Write Table 2 as CSV to ``output`` and as Markdown beside it.

    Raises:
        GemsError: there is no result, or one cannot be used.
    """
    if output.suffix != ".csv":
        raise GemsError(f"Table 2 is written to a file that ends in .csv, not to {output}.")
    table = table2(read_results(results))
    if not len(table):
        raise GemsError("Table 2 needs at least one result file.")
    with written_whole(output.with_suffix(".md")) as temporary:
        temporary.write_text(to_markdown(table))
    with written_whole(output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
