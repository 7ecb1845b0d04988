"""Audit of the baselines: how faults of the released code widen the gap to SAC+GeMS."""

import math
from functools import partial
from typing import Any

import pandas as pd

from gems.analysis.layout import Sheet, formatted, intervals
from gems.analysis.names import label, order_of_environments, order_of_methods
from gems.analysis.reference_values import find, value_of
from gems.analysis.runs import main_runs, option
from gems.analysis.scale import is_paper_scale, scale_note, scale_of_cell
from gems.analysis.statistics import add_holm, half_width, hedges_g, welch_p
from gems.config.variants import audited, fidelity_of_baseline
from gems.errors import GemsError
from gems.methods import METHODS, REFERENCE_METHOD
from gems.sections import Fidelity

# Titles of the presets of a baseline.
SIDES: dict[Fidelity, str] = {"released": "As released", "paper": "Corrected"}
CAPTION = (
    "Mean test return ± half-width of the 95 % Student-t interval of each faulty baseline as "
    "released and corrected (the paper's text), in the same simulator; users, replay batches and "
    "initial belief tables are those of SAC+GeMS. Difference: corrected minus released. p values: "
    "Welch's t-test of corrected against released, raw and Holm-adjusted within the environment; "
    "Hedges' g of corrected over released. Share of gap: the part of the distance from the "
    "released baseline to SAC+GeMS that correcting the baseline closes; empty where the released "
    "baseline is not behind. Published gap: published mean of SAC+GeMS minus that of the baseline."
)


def make(runs: pd.DataFrame) -> tuple[pd.DataFrame, Sheet]:
    runs = with_fidelity(runs)
    table = audit(runs)
    cells = {
        "Method": table["method"],
        "Environment": table["environment"],
        **{
            title: intervals(table[f"mean_{side}"], table[f"half_width_{side}"])
            for side, title in SIDES.items()
        },
        "Difference": formatted(table["difference"], "+.1f"),
        "p": formatted(table["p_value"], ",.3g"),
        "p (Holm)": formatted(table["holm_p_value"], ",.3g"),
        "Hedges' g": formatted(table["hedges_g"], ",.3g"),
        label(REFERENCE_METHOD): formatted(table["gems_mean"], ".1f"),
        "Share of gap": formatted(table["share_of_gap"], ".0%"),
        "Published gap": formatted(table["published_gap"], "+.1f"),
    }
    return table, Sheet(pd.DataFrame(cells), CAPTION, scale_note(runs), text_columns=2)


def with_fidelity(runs: pd.DataFrame) -> pd.DataFrame:
    """Main runs of SAC+GeMS and all runs of audited methods, the latter with ``fidelity``.

    Raises:
        GemsError: a run of an audited method follows neither preset, or two runs of one seed follow
            the same preset.
    """
    baselines = runs[runs["method"].isin(list(audited()))]
    fidelity = [
        fidelity_of_baseline(METHODS[method], config)
        for method, config in zip(baselines["method"], baselines["config"], strict=True)
    ]
    if None in fidelity:
        folder = baselines["folder"].iloc[fidelity.index(None)]
        raise GemsError(f"The run {folder} follows neither preset of fidelity; leave it out.")
    baselines = baselines.assign(fidelity=pd.Series(fidelity, baselines.index, dtype=object))
    duplicates = baselines[baselines.duplicated(["method", "environment", "seed", "fidelity"])]
    if len(duplicates):
        folder = duplicates["folder"].iloc[0]
        raise GemsError(
            f"Another run has the method, environment, seed and fidelity of {folder}; "
            "leave one of them out."
        )
    reference = runs[(runs["method"] == REFERENCE_METHOD) & (runs["variant"] == "")]
    reference = main_runs(reference) if len(reference) else reference
    return pd.concat([baselines, reference.assign(fidelity="")])


def audit(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per audited method and environment with runs under both presets.

    Columns: method, environment, then for released and paper n_seeds, mean and half_width;
    difference (paper minus released), p_value, holm_p_value, hedges_g, gems_mean, gap_released,
    gap_paper (SAC+GeMS minus the baseline), share_of_gap, published, published_gap (if both
    published values are known for these settings), training_episodes, test_users, paper_scale.

    Args:
        runs: result of ``with_fidelity``.

    Raises:
        GemsError: no method has runs under both presets, or runs of one cell were made at
            different scales.
    """
    cells = dict(list(runs.groupby(["method", "environment", "fidelity"])))
    rows = []
    for environment in order_of_environments(runs["environment"]):
        for method in order_of_methods(audited()):
            places = {side: (method, environment, side) for side in SIDES}
            if all(place in cells for place in places.values()):
                sides = {side: cells[place] for side, place in places.items()}
                reference = cells.get((REFERENCE_METHOD, environment, ""))
                rows.append(_row(method, environment, sides, reference))
    if not rows:
        raise GemsError("The audit needs results of a baseline under both presets of fidelity.")
    table = pd.DataFrame(rows)
    add_holm(table)
    return table


def _row(
    method: str,
    environment: str,
    sides: dict[Fidelity, pd.DataFrame],
    reference: pd.DataFrame | None,
) -> dict[str, Any]:
    returns = {name: cell["test_return"].to_list() for name, cell in sides.items()}
    row: dict[str, Any] = {"method": label(method), "environment": environment}
    for name, values in returns.items():
        row |= {
            f"n_seeds_{name}": len(values),
            f"mean_{name}": sum(values) / len(values),
            f"half_width_{name}": half_width(values),
        }
    gems = math.nan if reference is None else float(reference["test_return"].mean())
    gap = gems - row["mean_released"]
    difference = row["mean_paper"] - row["mean_released"]
    published = _published(method, environment, sides["released"])
    both = pd.concat(sides.values())
    return row | {
        "difference": difference,
        "p_value": welch_p(returns["paper"], returns["released"]),
        "holm_p_value": math.nan,
        "hedges_g": hedges_g(returns["paper"], returns["released"]),
        "gems_mean": gems,
        "gap_released": gap,
        "gap_paper": gems - row["mean_paper"],
        "share_of_gap": difference / gap if gap > 0 else math.nan,
        "published": published,
        "published_gap": _published(REFERENCE_METHOD, environment, reference) - published,
        **scale_of_cell(method, environment, both),
        "paper_scale": is_paper_scale(both),
    }


def _published(method: str, environment: str, runs: pd.DataFrame | None) -> float:
    """The value published for the settings of the runs; NaN if there is none."""
    if runs is None:
        return math.nan
    return value_of(find("published", method, environment, partial(option, runs)))
