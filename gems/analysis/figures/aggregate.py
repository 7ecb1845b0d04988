"""Plot of the statistics over environments: normalised means, probability of improvement."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gems.analysis import style
from gems.analysis.names import label
from gems.analysis.runs import main_runs
from gems.analysis.scale import scale_note
from gems.analysis.tables.aggregate import aggregate

PANELS = (
    ("iqm", "Interquartile mean of normalised return\n[0: Random, 1: SAC+TopK (ideal)]"),
    ("probability_of_improvement", "Probability that SAC+GeMS beats the method"),
)


def make(runs: pd.DataFrame) -> Figure:
    """Plot a point with its interval per method, in the order of Table 2."""
    runs = main_runs(runs)
    table = aggregate(runs)
    looks = style.looks(runs["method"])
    figure = style.new_figure(style.PAGE, 1.1 + 0.21 * len(looks), scale_note(runs))
    all_axes = figure.subplots(1, 2, sharey=True)
    for axes, (statistic, title) in zip(all_axes, PANELS, strict=True):
        _panel(axes, table[table["statistic"] == statistic], looks)
        axes.set_xlabel(title)
    all_axes[0].set_yticks(range(len(looks)), map(label, looks))
    all_axes[0].invert_yaxis()
    for value in (0, 1):
        all_axes[0].axvline(value, color="black", linewidth=0.7, linestyle=":")
    all_axes[1].axvline(0.5, color="black", linewidth=0.7, linestyle=":")
    all_axes[1].set_xlim(-0.03, 1.03)
    return figure


def _panel(axes: Axes, table: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    rows = table.set_index("method")
    for place, (method, look) in enumerate(looks.items()):
        if label(method) not in rows.index:
            continue
        row = rows.loc[label(method)]
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
