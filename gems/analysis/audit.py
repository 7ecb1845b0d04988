"""Audit of the baselines: how much of the gap to SAC+GeMS comes from the released code's faults."""

import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from gems.analysis import layout
from gems.analysis.layout import Cell, Sheet
from gems.analysis.reference_values import find, value_of
from gems.analysis.runs import main_runs, option, read_results
from gems.analysis.scale import is_paper_scale, scale_note
from gems.analysis.statistics import add_holm, half_width, hedges_g, welch_p
from gems.analysis.tables import scale_of_cell
from gems.errors import GemsError
from gems.registry import ENVIRONMENTS, METHODS, OURS
from gems.sections import Fidelity
from gems.variants import AUDITED, baseline_fidelity

SIDES: tuple[Fidelity, Fidelity] = ("released", "paper")
CAPTION = (
    "Mean test return ± half-width of the 95 % Student-t interval of each faulty baseline as "
    "released and corrected (the paper's text), in the same simulator; users, replay batches and "
    "initial belief tables are those of SAC+GeMS. Share of gap: the part of the distance from the "
    "released baseline to SAC+GeMS that correcting the baseline closes; empty where the released "
    "baseline is not behind. p values: Welch's test of corrected against released, raw and by "
    "Holm's correction within the environment; Hedges' g of corrected over released."
)


def with_fidelity(runs: pd.DataFrame) -> pd.DataFrame:
    """Main runs of SAC+GeMS and all runs of audited methods, these with a column ``fidelity``.

    Raises:
        GemsError: an audited run follows neither preset, or two of one seed follow the same.
    """
    audited = runs[runs["method"].isin(list(AUDITED))]
    fidelity = [
        baseline_fidelity(method, config)
        for method, config in zip(audited["method"], audited["config"], strict=True)
    ]
    for found, folder in zip(fidelity, audited["folder"], strict=True):
        if found is None:
            raise GemsError(f"The baseline of {folder} follows neither preset of fidelity.")
    audited = audited.assign(fidelity=pd.Series(fidelity, audited.index, dtype=object))
    twice = audited[audited.duplicated(["method", "environment", "seed", "fidelity"])]
    if len(twice):
        raise GemsError(f"Two runs of the audit have the fidelity of {twice.iloc[0]['folder']}.")
    ours = main_runs(runs[runs["method"] == OURS]).assign(fidelity="")
    return pd.concat([audited, ours])


def audit(runs: pd.DataFrame) -> pd.DataFrame:
    """One row an audited method and environment that has runs under both presets.

    Columns: method, environment, then under released and paper n_seeds, mean and half_width;
    difference (paper minus released), p_value, holm_p_value, hedges_g, gems_mean, gap_released,
    gap_paper (SAC+GeMS minus the baseline), share_of_gap, published, published_gap (where both
    published values are known and belong to runs with these settings), training_episodes,
    test_users, paper_scale.

    Raises:
        GemsError: as ``with_fidelity``; runs of one cell were made at different scales.
    """
    runs = with_fidelity(runs)
    cells = dict(list(runs.groupby(["method", "environment", "fidelity"])))
    rows = []
    for environment in ENVIRONMENTS:
        ours = cells.get((OURS, environment, ""))
        for method in (m for m in METHODS if m in AUDITED):
            sides = [cells.get((method, environment, side)) for side in SIDES]
            if sides[0] is not None and sides[1] is not None:
                rows.append(_row(method, environment, sides[0], sides[1], ours))
    table = pd.DataFrame(rows)
    add_holm(table)
    return table


def _row(
    method: str,
    environment: str,
    released: pd.DataFrame,
    mended: pd.DataFrame,
    ours: pd.DataFrame | None,
) -> dict[str, Any]:
    sides = {
        "released": released["test_return"].to_list(),
        "paper": mended["test_return"].to_list(),
    }
    row: dict[str, Any] = {"method": METHODS[method].label, "environment": environment}
    for name, values in sides.items():
        row |= {
            f"n_seeds_{name}": len(values),
            f"mean_{name}": sum(values) / len(values),
            f"half_width_{name}": half_width(values),
        }
    gems = math.nan if ours is None else float(ours["test_return"].mean())
    gap = gems - row["mean_released"]
    difference = row["mean_paper"] - row["mean_released"]
    published = _published(method, environment, released)
    return row | {
        "difference": difference,
        "p_value": welch_p(sides["paper"], sides["released"]),
        "holm_p_value": math.nan,
        "hedges_g": hedges_g(sides["paper"], sides["released"]),
        "gems_mean": gems,
        "gap_released": gap,
        "gap_paper": gems - row["mean_paper"],
        "share_of_gap": difference / gap if gap > 0 else math.nan,
        "published": published,
        "published_gap": _published(OURS, environment, ours) - published,
        **scale_of_cell(method, environment, pd.concat([released, mended])),
        "paper_scale": is_paper_scale(pd.concat([released, mended])),
    }


def _published(method: str, environment: str, runs: pd.DataFrame | None) -> float:
    """The published value of runs with their settings; NaN where it is not known."""
    if runs is None:
        return math.nan
    return value_of(find("published", method, environment, partial(option, runs)))


def write_audit(results: Iterable[Path], output: Path) -> list[Path]:
    """Write the audit as CSV to ``output``, and as HTML beside it.

    Raises:
        GemsError: no method has results under both presets, or a result cannot be used.
    """
    runs = read_results(results)
    table = audit(runs)
    if not len(table):
        raise GemsError("The audit needs results of a baseline under both presets of fidelity.")
    return layout.write(output, table, sheet(table, scale_note(with_fidelity(runs))), ".html")


def sheet(table: pd.DataFrame, scale: str) -> Sheet:
    """The audit as people read it."""
    columns = ["Method", "Environment", "As released", "Mended", "Difference", "p", "p (Holm)"]
    columns += ["Hedges' g", "SAC+GeMS", "Share of gap", "Published gap"]
    rows = []
    for _, row in table.iterrows():
        share = row["share_of_gap"]
        texts = [
            row["method"],
            row["environment"],
            *(layout.interval(row[f"mean_{s}"], row[f"half_width_{s}"]) for s in SIDES),
            f"{row['difference']:+.1f}",
            *(layout.shown(row[name], 3) for name in ("p_value", "holm_p_value", "hedges_g")),
            layout.shown(row["gems_mean"]),
            "" if math.isnan(share) else f"{share:.0%}",
            layout.shown(row["published_gap"]),
        ]
        rows.append([Cell(text) for text in texts])
    return Sheet("Audit of the baselines", columns, [("", rows)], CAPTION, scale)
