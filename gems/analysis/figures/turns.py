"""Boredom and diversity over the turns of test episodes."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gems.analysis import style
from gems.analysis.names import environment_title, order_of_environments
from gems.analysis.runs import main_runs, read_csv
from gems.analysis.scale import scale_note

FIGURES = {
    "reward": "Reward\n[clicks per slate]",
    "bored_topics": "Bored topics\n[of 10]",
    "slate_topics": "Topics in a slate\n[of 10]",
}


def by_turn(runs: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds of a method, by turn: reward, bored_topics, slate_topics.

    Raises:
        GemsError: a run has no valid turns.csv.
    """
    tables = [read_csv(folder, "turns.csv", ["turn", *FIGURES]) for folder in runs["folder"]]
    return pd.concat(tables).groupby("turn")[list(FIGURES)].mean()


def make(runs: pd.DataFrame) -> Figure:
    """Plot a column per environment; rows: reward, bored topics, topics in a slate."""
    runs = main_runs(runs)
    environments = order_of_environments(runs["environment"])
    width = max(style.PAGE, 1.0 + 1.7 * len(environments))
    figure = style.new_figure(width, 5.2, scale_note(runs))
    grid = figure.subplots(
        len(FIGURES), len(environments), sharex=True, sharey="row", squeeze=False
    )
    for column, environment in zip(grid.T, environments, strict=True):
        for method in style.by_method(runs, environment):
            _lines(column, *method)
        column[0].set_title(environment_title(environment))
    for axes, name in zip(grid[:, 0], FIGURES.values(), strict=True):
        axes.set_ylabel(name)
    for axes in grid[-1]:
        axes.set_xlabel("Turn of the test episode")
    style.from_zero(grid.flat)
    style.method_legend(figure, grid[0], runs)
    return figure


def _lines(column: list[Axes], label: str, look: style.Look, runs: pd.DataFrame) -> None:
    table = by_turn(runs)
    for axes, name in zip(column, FIGURES, strict=True):
        axes.plot(
            table.index,
            table[name],
            color=look.colour,
            linestyle=look.line,
            linewidth=1,
            marker=look.marker,
            markersize=3.5,
            markevery=(len(table) // 10, max(1, len(table) // 5)),
            label=label,
        )
