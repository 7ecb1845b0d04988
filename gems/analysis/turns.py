"""Boredom and diversity over the turns of test episodes."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gems.analysis import style
from gems.analysis.runs import main_runs, read_csv
from gems.analysis.scale import scale_note
from gems.errors import GemsError
from gems.registry import ENVIRONMENTS, METHODS

FIGURES = {
    "reward": "Reward\n[clicks per slate]",
    "bored_topics": "Bored topics\n[of 10]",
    "slate_topics": "Topics in a slate\n[of 10]",
}


def by_turn(runs: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds of one method, by turn: reward, bored_topics, slate_topics.

    Raises:
        GemsError: a run has no file of its turns.
    """
    tables = [read_csv(folder, "turns.csv", ["turn", *FIGURES]) for folder in runs["folder"]]
    return pd.concat(tables).groupby("turn")[list(FIGURES)].mean()


def draw(runs: pd.DataFrame) -> Figure:
    """A column an environment, a row each for reward, bored topics and topics in a slate.

    Raises:
        GemsError: there is no run, or one has no file of its turns.
    """
    runs = main_runs(runs)
    environments = [e for e in ENVIRONMENTS if e in set(runs["environment"])]
    if not environments:
        raise GemsError("The figure of turns needs at least one result file.")
    width = max(style.PAGE, 1.0 + 1.7 * len(environments))
    figure = style.new_figure(width, 5.2, scale_note(runs))
    grid = figure.subplots(
        len(FIGURES), len(environments), sharex=True, sharey="row", squeeze=False
    )
    for column, environment in zip(grid.T, environments, strict=True):
        _column(column, runs[runs["environment"] == environment])
        column[0].set_title(style.environment_title(environment))
    for axes, name in zip(grid[:, 0], FIGURES.values(), strict=True):
        axes.set_ylabel(name)
    for axes in grid[-1]:
        axes.set_xlabel("Turn of the test episode")
    style.from_zero(grid.flat)
    style.method_legend(figure, grid[0])
    return figure


def _column(column: list[Axes], runs: pd.DataFrame) -> None:
    for method in METHODS:
        of_method = runs[runs["method"] == method]
        if not len(of_method):
            continue
        look, table = style.look(method), by_turn(of_method)
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
                label=style.label(method),
            )
