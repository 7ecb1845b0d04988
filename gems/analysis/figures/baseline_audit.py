"""Plot of the audit of the baselines: as released and corrected, with SAC+GeMS."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gems.analysis import style
from gems.analysis.names import label, order_of_environments
from gems.analysis.scale import scale_note
from gems.analysis.tables.baseline_audit import SIDES, audit, with_fidelity
from gems.methods import REFERENCE_METHOD

# Offset, colour and hatch of the bars for each preset.
BARS = {"released": (-0.19, "#56B4E9", ""), "paper": (0.19, "#E69F00", "////")}
SEED = "One seed"


def make(runs: pd.DataFrame) -> Figure:
    """Plot a panel per environment: bars of each baseline, a line at SAC+GeMS."""
    runs = with_fidelity(runs)
    table = audit(runs)
    environments = order_of_environments(table["environment"])
    figure, grid = style.environment_grid(environments, 2.1, 0.8, scale_note(runs), sharey=True)
    for axes, environment in zip(grid.flat, environments, strict=False):
        of_environment = table[table["environment"] == environment].reset_index()
        _panel(axes, of_environment, runs[runs["environment"] == environment])
    style.from_zero(grid.flat)
    figure.supylabel("Test return [clicks per episode]", size=8)
    style.legend(figure, grid.flat, [*SIDES.values(), SEED, label(REFERENCE_METHOD)])
    return figure


def _panel(axes: Axes, table: pd.DataFrame, runs: pd.DataFrame) -> None:
    places = {name: place for place, name in enumerate(table["method"])}
    across = runs["method"].map(label).map(places)
    for side, title in SIDES.items():
        shift, colour, hatch = BARS[side]
        axes.bar(
            table.index + shift,
            table[f"mean_{side}"],
            width=0.36,
            yerr=table[f"half_width_{side}"],
            color=colour,
            hatch=hatch,
            edgecolor="black",
            linewidth=0.6,
            error_kw={"capsize": 2.5, "elinewidth": 0.9},
            label=title,
        )
        seeds = (runs["fidelity"] == side) & across.notna()
        axes.plot(
            across[seeds] + shift - 0.09,
            runs["test_return"][seeds],
            "o",
            color="black",
            mfc="white",
            markersize=3,
            label=SEED,
        )
    reference = table["gems_mean"].dropna()
    if len(reference):
        colour = style.looks([REFERENCE_METHOD])[REFERENCE_METHOD].colour
        axes.axhline(reference.iloc[0], color=colour, label=label(REFERENCE_METHOD))
    axes.set_xticks(table.index, [name.replace("+", "+\n") for name in table["method"]])
