"""Test returns that others reported, and the settings of their runs.

``reference_values.csv`` beside this module holds the values and explains its columns.
"""

import csv
import math
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

FILE = Path(__file__).with_suffix(".csv")
ALL = "all"  # instead of an environment: a range over all of them
# Column of the file -> the section and option of a run that must have the same value.
SETTINGS = {
    "beta": ("vae", "beta"),
    "lambda_click": ("vae", "lambda_click"),
    "gamma": ("agent", "gamma"),
}

Kind = Literal["published", "independent"]


class Reference(BaseModel):
    """A row of the file; None stands for values that are unknown or do not apply."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Kind
    method: str
    environment: str
    beta: float | None
    lambda_click: float | None
    gamma: float | None
    value: float | None
    low: float | None
    high: float | None
    seeds: int | None
    source: str

    def settings(self) -> dict[tuple[str, str], float]:
        values = {place: getattr(self, column) for column, place in SETTINGS.items()}
        return {place: value for place, value in values.items() if value is not None}


@cache
def references() -> tuple[Reference, ...]:
    with FILE.open(newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return tuple(
            Reference.model_validate({name: text or None for name, text in row.items()})
            for row in rows
        )


def find(
    kind: Kind, method: str, environment: str, option: Callable[[str, str], Iterable[Any]]
) -> Reference | None:
    """The value reported for runs with these settings; None if there is none.

    ``option(section, name)`` returns the values of an option in the runs.
    """
    for row in references():
        if (row.kind, row.method) != (kind, method) or row.environment not in (environment, ALL):
            continue
        if all(
            value == wanted for place, wanted in row.settings().items() for value in option(*place)
        ):
            return row
    return None


def value_of(reference: Reference | None, column: str = "value") -> float:
    value = None if reference is None else getattr(reference, column)
    return math.nan if value is None else value


def sources(kind: Kind) -> str:
    return "; ".join(dict.fromkeys(row.source for row in references() if row.kind == kind))


def seeds(kind: Kind) -> str:
    """Number of seeds behind the values of a kind, as text."""
    counts = [row.seeds for row in references() if row.kind == kind and row.seeds is not None]
    low, high = min(counts), max(counts)
    return f"{low} seed{'s' * (low != 1)}" if low == high else f"{low} to {high} seeds"
