"""Picture of the audit of the baselines: as released and mended, beside SAC+GeMS."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gems.analysis import style
from gems.analysis.audit import audit, with_fidelity
from gems.analysis.scale import scale_note
from gems.errors import GemsError
from gems.registry import ENVIRONMENTS, OURS

SIDES = {"released": ("As released", -0.19, ""), "paper": ("Mended", 0.19, "////")}
COLOURS = {"released": "#56B4E9", "paper": "#E69F00"}


def draw(runs: pd.DataFrame) -> Figure:
    """A panel an environment: bars of the two sides of each baseline, a line at SAC+GeMS.

    Raises:
        GemsError: no method has results under both presets, or a result cannot be used.
    """
    table = audit(runs)
    if not len(table):
        raise GemsError("The audit needs results of a baseline under both presets of fidelity.")
    environments = [e for e in ENVIRONMENTS if e in set(table["environment"])]
    columns = min(3, len(environments))
    rows = -(-len(environments) // columns)
    width = style.PAGE if columns > 1 else 4.6
    runs = with_fidelity(runs)
    note = scale_note(runs)
    figure = style.new_figure(width, 0.8 + 2.1 * rows, note)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, environment in zip(grid.flat, environments, strict=False):
        of_environment = table[table["environment"] == environment].reset_index()
        _panel(axes, of_environment, runs[runs["environment"] == environment])
        axes.set_title(style.environment_title(environment))
    for axes in grid.flat[len(environments) :]:
        axes.set_axis_off()
    style.from_zero(grid.flat)
    figure.supylabel("Test return [clicks per episode]", size=8)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    bars = [name for name, *_ in SIDES.values()]
    bars_first = sorted(zip(labels, handles, strict=True), key=lambda entry: entry[0] not in bars)
    names, drawn = zip(*bars_first, strict=True)
    figure.legend(drawn, names, loc="outside upper center", ncols=4)
    return figure


def _panel(axes: Axes, table: pd.DataFrame, runs: pd.DataFrame) -> None:
    places = {name: place for place, name in enumerate(table["method"])}
    for side, (name, shift, hatch) in SIDES.items():
        axes.bar(
            table.index + shift,
            table[f"mean_{side}"],
            width=0.36,
            yerr=table[f"half_width_{side}"],
            color=COLOURS[side],
            hatch=hatch,
            edgecolor="black",
            linewidth=0.6,
            error_kw={"capsize": 2.5, "elinewidth": 0.9},
            label=name,
        )
        labels = runs["method"].map(style.label)
        seeds = runs[(runs["fidelity"] == side) & labels.isin(list(places))]
        across = [places[style.label(method)] + shift - 0.09 for method in seeds["method"]]
        one = "One seed" if side == "paper" else None
        axes.plot(
            across, seeds["test_return"], "o", color="black", mfc="white", markersize=3, label=one
        )
    ours = table["gems_mean"].dropna()
    if len(ours):
        look = style.look(OURS)
        axes.axhline(ours.iloc[0], color=look.colour, label=style.label(OURS))
    axes.set_xticks(table.index, [name.replace("+", "+\n") for name in table["method"]])
