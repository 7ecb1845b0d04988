"""Table 2 beside the published one."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from gems.analysis import layout
from gems.analysis.layout import Cell, Sheet
from gems.analysis.published import PUBLISHED_MYOPIC, PUBLISHED_RANGES, SOURCE, published
from gems.analysis.runs import main_runs, option, read_results
from gems.analysis.scale import scale_note
from gems.analysis.tables import table2
from gems.errors import GemsError
from gems.registry import METHODS, OURS

MYOPIC_VARIANT = "gamma0.0"
MYOPIC_LABEL = "SAC+GeMS (γ = 0)"

CAPTION = (
    f"Ours beside the published values that are known here ({SOURCE}); other cells are left empty, "
    "and of SAC+WkNN only the range over the six environments is known. Ours: mean ± "
    "half-width of the 95 % Student-t interval over seeds."
)


def versus_paper(results: pd.DataFrame) -> pd.DataFrame:
    """Table 2 beside the published one: a row a method and environment, then gamma = 0.

    Columns: method, environment, n_seeds, mean, half_width, published, published_low and
    published_high (a range over all environments), difference (ours minus published),
    within_interval, training_episodes, test_users, paper_scale.
    """
    table = table2(main_runs(results))
    methods = {entry.label: name for name, entry in METHODS.items()}
    rows = [
        _row(row, methods[row["method"]], published(methods[row["method"]], row["environment"]))
        for _, row in table.iterrows()
    ]
    myopic = results[(results["variant"] == MYOPIC_VARIANT) & (results["method"] == OURS)]
    if len(myopic) and (option(myopic, "agent", "gamma") != 0).any():
        raise GemsError(f"A run of variant {MYOPIC_VARIANT} has a discount factor other than 0.")
    if len(myopic):
        for _, row in table2(myopic).iterrows():
            value = PUBLISHED_MYOPIC.get(row["environment"], math.nan)
            rows.append(_row(row, MYOPIC_LABEL, value) | {"method": MYOPIC_LABEL})
    return pd.DataFrame(rows)


def _row(row: pd.Series, method: str, value: float) -> dict[str, Any]:
    low, high = PUBLISHED_RANGES.get(method, (math.nan, math.nan))
    difference = row["mean"] - value
    known = not math.isnan(value) and not math.isnan(row["half_width"])
    return {
        **{name: row[name] for name in ("method", "environment", "n_seeds", "mean", "half_width")},
        "published": value,
        "published_low": low,
        "published_high": high,
        "difference": difference,
        "within_interval": bool(abs(difference) <= row["half_width"]) if known else None,
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
        value = layout.shown(row["published"])
        if not math.isnan(row["published_low"]):
            value = f"{row['published_low']:g} to {row['published_high']:g}"
        ours = layout.interval(row["mean"], row["half_width"])
        within = layout.shown(row["within_interval"])
        difference = "" if math.isnan(row["difference"]) else f"{row['difference']:+.1f}"
        texts = [row["method"], row["environment"], ours, value, difference, within]
        rows.append([Cell(text) for text in texts])
    columns = ["Method", "Environment", "Ours", "Published", "Difference", "Within our interval"]
    return Sheet("Table 2 beside the published one", columns, [("", rows)], CAPTION, scale)
