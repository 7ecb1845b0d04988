"""Picture of the statistics over environments: normalised means, probability of improvement."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gems.analysis import style
from gems.analysis.aggregate import aggregate
from gems.analysis.runs import main_runs
from gems.analysis.scale import scale_note
from gems.errors import GemsError
from gems.registry import METHODS

PANELS = (
    ("iqm", "Interquartile mean of normalised return\n[0: Random, 1: SAC+TopK (ideal)]"),
    ("probability_of_improvement", "Probability that SAC+GeMS beats the method"),
)


def draw(runs: pd.DataFrame) -> Figure:
    """A point with its interval a method, the first methods of Table 2 on top.

    Raises:
        GemsError: there is no run, or none of Random or SAC+TopK (ideal).
    """
    runs = main_runs(runs)
    if not len(runs):
        raise GemsError("The figure of statistics needs at least one result file.")
    table = aggregate(runs)
    present = [method for method in METHODS if method in set(runs["method"])]
    figure = style.new_figure(style.PAGE, 1.1 + 0.21 * len(present), scale_note(runs))
    all_axes = figure.subplots(1, 2, sharey=True)
    for axes, (statistic, title) in zip(all_axes, PANELS, strict=True):
        _panel(axes, table[table["statistic"] == statistic], present)
        axes.set_xlabel(title)
    all_axes[0].set_yticks(range(len(present)), [style.label(method) for method in present])
    all_axes[0].invert_yaxis()
    for value in (0, 1):
        all_axes[0].axvline(value, color="black", linewidth=0.7, linestyle=":")
    all_axes[1].axvline(0.5, color="black", linewidth=0.7, linestyle=":")
    all_axes[1].set_xlim(-0.03, 1.03)
    return figure


def _panel(axes: Axes, table: pd.DataFrame, present: list[str]) -> None:
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    rows = table.set_index("method")
    for place, method in enumerate(present):
        if style.label(method) not in rows.index:
            continue
        row, look = rows.loc[style.label(method)], style.look(method)
        if not pd.isna(row["low"]):
            axes.plot(
                [row["low"], row["high"]],
                [place, place],
                color=look.colour,
                linewidth=3.5,
                alpha=0.35,
                solid_capstyle="butt",
            )
        axes.plot(
            row["value"], place, color=look.colour, marker=look.marker, linestyle="", markersize=6
        )
