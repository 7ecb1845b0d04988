"""Table 1: the assumptions that methods make, from the registry."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gems.analysis import layout
from gems.analysis.layout import Cell, Sheet
from gems.errors import GemsError
from gems.registry import ASSUMPTIONS, METHODS

CAPTION = (
    "Assumptions of the methods that choose slates by learning, under the abbreviations of the "
    "paper's Table 1."
)


def table1() -> pd.DataFrame:
    """One row a method that makes assumptions, one column of booleans an assumption."""
    rows = [
        {"method": entry.label, **{name: name in entry.assumptions for name in ASSUMPTIONS}}
        for entry in METHODS.values()
        if entry.assumptions
    ]
    return pd.DataFrame(rows)


def write_table1(results: Sequence[Path], output: Path) -> list[Path]:
    """Write Table 1 as CSV to ``output``, and as Markdown, LaTeX and HTML beside it.

    Raises:
        GemsError: results are given, of which this table takes none.
    """
    if results:
        raise GemsError("Table 1 is made from the registry of methods and takes no results.")
    table = table1()
    rows = [
        [Cell(row["method"]), *(Cell("x" if row[name] else "") for name in ASSUMPTIONS)]
        for _, row in table.iterrows()
    ]
    sheet = Sheet("Table 1", ["Method", *ASSUMPTIONS], [("", rows)], CAPTION)
    return layout.write(output, table, sheet, ".md", ".tex", ".html")
