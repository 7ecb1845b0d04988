"""Learning curves: validation return of every method in every environment."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gems.analysis import style
from gems.analysis.names import order_of_environments
from gems.analysis.runs import main_runs, read_csv
from gems.analysis.scale import scale_note
from gems.errors import GemsError

COLUMNS = ["episode", "validation_return"]


def curve(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean, minimum and maximum validation return over the seeds of a method, by episode.

    Raises:
        GemsError: a curve is missing, or the curves share no episode.
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


def make(runs: pd.DataFrame) -> Figure:
    """Plot a panel per environment, a line per method, a band from minimum to maximum.

    Untrained methods are horizontal lines at their test return.
    """
    runs = main_runs(runs)
    environments = order_of_environments(runs["environment"])
    figure, grid = style.environment_grid(environments, 2.0, 1.0, scale_note(runs), sharex=True)
    for axes, environment in zip(grid.flat, environments, strict=False):
        for method in style.by_method(runs, environment):
            _line(axes, *method)
    figure.supylabel("Validation return [clicks per episode]", size=8)
    for axes in grid[-1]:
        axes.set_xlabel("Training episodes")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter("{x:,.0f}")
    style.from_zero(grid.flat)
    style.method_legend(figure, grid.flat, runs)
    return figure


def _line(axes: Axes, label: str, look: style.Look, runs: pd.DataFrame) -> None:
    if not runs["training_episodes"].any():
        level = runs["test_return"].mean()
        axes.axhline(level, color=look.colour, linestyle=look.line, label=label)
        return
    table = curve(runs)
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
        label=label,
    )
