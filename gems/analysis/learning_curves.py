"""Learning curves: validation return of every method in every environment."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gems.analysis import style
from gems.analysis.runs import main_runs, read_csv
from gems.analysis.scale import scale_note
from gems.errors import GemsError
from gems.registry import ENVIRONMENTS, METHODS

COLUMNS = ["episode", "validation_return"]


def curve(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean, least and largest validation return over the seeds of one method, by episode.

    Raises:
        GemsError: a curve is missing, or curves have no episode in common.
    """
    curves = [
        read_csv(folder, "curve.csv", COLUMNS).set_index("episode")["validation_return"]
        for folder in runs["folder"]
    ]
    joined = pd.concat(curves, axis=1, join="inner")
    if not len(joined):
        raise GemsError(f"The curve in {runs['folder'].iloc[0]} has no validation to draw.")
    return pd.DataFrame(
        {"mean": joined.mean(axis=1), "least": joined.min(axis=1), "largest": joined.max(axis=1)}
    )


def draw(runs: pd.DataFrame) -> Figure:
    """A panel an environment, a line a method, a band from the least to the largest seed.

    Methods that do not learn are level lines at their test return.

    Raises:
        GemsError: there is no run, or a curve is missing or damaged.
    """
    runs = main_runs(runs)
    environments = [e for e in ENVIRONMENTS if e in set(runs["environment"])]
    if not environments:
        raise GemsError("Learning curves need at least one result file.")
    columns = min(3, len(environments))
    rows = -(-len(environments) // columns)
    figure = style.new_figure(style.PAGE, 1.0 + 2.0 * rows, scale_note(runs))
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axes, environment in zip(grid.flat, environments, strict=False):
        _panel(axes, runs[runs["environment"] == environment])
        axes.set_title(style.environment_title(environment))
    for axes in grid.flat[len(environments) :]:
        axes.set_axis_off()
    figure.supylabel("Validation return [clicks per episode]", size=8)
    for axes in grid[-1]:
        axes.set_xlabel("Training episodes")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter("{x:,.0f}")
    style.from_zero(grid.flat)
    style.method_legend(figure, grid.flat)
    return figure


def _panel(axes: Axes, runs: pd.DataFrame) -> None:
    for method in METHODS:
        of_method = runs[runs["method"] == method]
        if not len(of_method):
            continue
        look, name = style.look(method), style.label(method)
        if not METHODS[method].trained:
            level = of_method["test_return"].mean()
            axes.axhline(level, color=look.colour, linestyle=look.line, label=name)
            continue
        table = curve(of_method)
        axes.fill_between(
            table.index, table["least"], table["largest"], color=look.colour, alpha=0.15, lw=0
        )
        axes.plot(
            table.index,
            table["mean"],
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            markevery=max(1, len(table) // 8),
            label=name,
        )
