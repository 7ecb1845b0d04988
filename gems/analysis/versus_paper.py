"""Table 2 beside what others reported: the paper, and independent runs of the released code."""

import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from gems.analysis import layout
from gems.analysis.layout import Cell, Sheet
from gems.analysis.reference_values import Reference, find, seeds, sources, value_of
from gems.analysis.runs import main_runs, option, read_results
from gems.analysis.scale import scale_note
from gems.analysis.tables import table2
from gems.errors import GemsError
from gems.registry import METHODS, OURS

MYOPIC_VARIANT = "gamma0.0"
MYOPIC_LABEL = "SAC+GeMS (γ = 0)"
# Published values have one decimal.
ROUNDING = 0.05


def versus_paper(results: pd.DataFrame) -> pd.DataFrame:
    """Table 2 beside what others reported: a row a method and environment, then gamma = 0.

    Columns: method, environment, n_seeds, mean, half_width, published, published_low and
    published_high (a range over all environments), difference (ours minus published),
    within_interval, independent, independent_seeds, difference_independent (ours minus
    independent), training_episodes, test_users, paper_scale. A value is shown only beside runs
    with its settings (beta, lambda and gamma).

    Raises:
        GemsError: a run has no record of the settings that a value depends on.
    """
    rows = _rows(main_runs(results))
    myopic = results[(results["variant"] == MYOPIC_VARIANT) & (results["method"] == OURS)]
    if len(myopic) and (option(myopic, "agent", "gamma") != 0).any():
        raise GemsError(f"A run of variant {MYOPIC_VARIANT} has a discount factor other than 0.")
    if len(myopic):
        rows += [row | {"method": MYOPIC_LABEL} for row in _rows(myopic)]
    table = pd.DataFrame(rows)
    return table.astype({"independent_seeds": "Int64"})


def _rows(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a method and environment of ``runs``."""
    names = {entry.label: name for name, entry in METHODS.items()}
    cells = dict(list(runs.groupby(["method", "environment"])))
    rows = []
    for _, row in table2(runs).iterrows():
        cell = names[row["method"]], row["environment"]
        options = partial(option, cells[cell])
        published = find("published", *cell, options)
        rows.append(_row(row, published, find("independent", *cell, options)))
    return rows


def _row(
    row: pd.Series, published: Reference | None, independent: Reference | None
) -> dict[str, Any]:
    value = value_of(published)
    difference = row["mean"] - value
    known = not math.isnan(value) and not math.isnan(row["half_width"])
    return {
        **{name: row[name] for name in ("method", "environment", "n_seeds", "mean", "half_width")},
        "published": value,
        "published_low": value_of(published, "low"),
        "published_high": value_of(published, "high"),
        "difference": difference,
        "within_interval": bool(abs(difference) <= row["half_width"] + ROUNDING) if known else None,
        "independent": value_of(independent),
        "independent_seeds": None if independent is None else independent.seeds,
        "difference_independent": row["mean"] - value_of(independent),
        **{name: row[name] for name in ("training_episodes", "test_users", "paper_scale")},
    }


def write_versus_paper(results: Iterable[Path], output: Path) -> list[Path]:
    """Write the comparison as CSV to ``output``, and as HTML beside it.

    Raises:
        GemsError: there is no result, or one cannot be used.
    """
    runs = read_results(results)
    if not len(main_runs(runs)):
        raise GemsError("The comparison with the paper needs at least one result file.")
    table = versus_paper(runs)
    return layout.write(output, table, sheet(table, scale_note(runs)), ".html")


def sheet(table: pd.DataFrame, scale: str) -> Sheet:
    """The comparison as people read it."""
    rows = []
    for _, row in table.iterrows():
        published = _fixed(row["published"])
        if not math.isnan(row["published_low"]):
            published = f"{row['published_low']:g} to {row['published_high']:g}"
        texts = [
            row["method"],
            row["environment"],
            layout.interval(row["mean"], row["half_width"]),
            published,
            _fixed(row["difference"], "+"),
            layout.shown(row["within_interval"]),
            _fixed(row["independent"]),
            _fixed(row["difference_independent"], "+"),
        ]
        rows.append([Cell(text) for text in texts])
    columns = ["Method", "Environment", "Ours", "Published", "Difference", "Within our interval"]
    columns += [f"Independent ({seeds('independent')})", "Difference from independent"]
    return Sheet("Table 2 beside the published one", columns, [("", rows)], _caption(), scale)


def _fixed(value: float, sign: str = "") -> str:
    return "" if math.isnan(value) else f"{value:{sign}.1f}"


def _caption() -> str:
    return (
        "Ours: mean ± half-width of the 95 % Student-t interval over seeds. "
        f"Published: {sources('published')}; of SAC+WkNN only the range over the six environments "
        "is known. Independent: test returns of the released code, run by another researcher "
        f"({sources('independent')}); one seed does not determine a mean. A value is shown only "
        "beside runs with its β, λ and γ; cells that are not known are left empty."
    )
