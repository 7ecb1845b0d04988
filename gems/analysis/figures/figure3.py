"""Figure 3 (RQ3): best validation return against beta and lambda of the slate VAE."""

from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gems.analysis import style
from gems.analysis.names import environment_title, order_of_environments
from gems.analysis.runs import option
from gems.analysis.scale import scale_note
from gems.analysis.statistics import half_width
from gems.errors import GemsError
from gems.methods import REFERENCE_METHOD

LINES = (
    ("#0072B2", "s", "--"),
    ("#D55E00", "o", "-"),
    ("#009E73", "^", ":"),
    ("#000000", "x", "-."),
)


class Sweep(NamedTuple):
    """A panel: the varied and the fixed option, and their symbols."""

    varied: str
    fixed: str
    symbol: str
    fixed_symbol: str
    meaning: str


SWEEPS = (
    Sweep("beta", "lambda_click", "β", "λ", "weight of the KL divergence"),
    Sweep("lambda_click", "beta", "λ", "β", "weight of the click reconstruction"),
)
PAPER = {"beta": 1.0, "lambda_click": 0.5}


def with_vae(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs of SAC+GeMS, with the options of their VAE as columns.

    Raises:
        GemsError: there are none, or the provenance of one lacks these options.
    """
    runs = runs[runs["method"] == REFERENCE_METHOD]
    if not len(runs):
        raise GemsError("Figure 3 needs results of SAC+GeMS.")
    names = ("beta", "lambda_click", "latent_dim")
    return runs.assign(**{name: option(runs, "vae", name) for name in names})


def fixed_value(runs: pd.DataFrame, sweep: Sweep) -> float:
    """The value of the fixed option for which the varied one has the most values.

    If there are several, the paper's value, else the largest.
    """
    counts = runs.groupby(sweep.fixed)[sweep.varied].nunique()
    most = [float(value) for value in counts.index[counts == counts.max()]]
    return PAPER[sweep.fixed] if PAPER[sweep.fixed] in most else max(most)


def points(runs: pd.DataFrame, sweep: Sweep) -> pd.DataFrame:
    """Mean and half-width (95 %, Student t) of the best validation return.

    Columns: latent_dim, value (of the varied option), mean, half_width.
    """
    swept = runs[runs[sweep.fixed] == fixed_value(runs, sweep)]
    cells = swept.groupby(["latent_dim", sweep.varied])["validation_return"]
    table = cells.agg(mean="mean", half_width=lambda values: half_width(values.to_list()))
    return table.reset_index().rename(columns={sweep.varied: "value"})


def make(runs: pd.DataFrame) -> Figure:
    """Plot a row per environment: against beta, and against lambda."""
    runs = with_vae(runs)
    environments = order_of_environments(runs["environment"])
    height = 0.6 + 2.1 * len(environments)
    figure = style.new_figure(style.PAGE, height, scale_note(runs))
    grid = figure.subplots(len(environments), 2, sharey="row", squeeze=False)
    for row, environment in zip(grid, environments, strict=True):
        of_environment = runs[runs["environment"] == environment]
        for axes, sweep in zip(row, SWEEPS, strict=True):
            fixed = fixed_value(of_environment, sweep)
            _panel(axes, points(of_environment, sweep))
            axes.set_xlabel(f"{sweep.symbol}, {sweep.meaning}")
            title = environment_title(environment)
            axes.set_title(f"{title}: {sweep.fixed_symbol} = {fixed:g}")
        row[0].set_ylabel("Best validation return\n[clicks per episode]")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", title="Latent\ndimensions")
    return figure


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    values = sorted(table["value"].unique())
    places = {value: place for place, value in enumerate(values)}
    lines = list(table.groupby("latent_dim"))
    for index, (dim, line) in enumerate(lines):
        shift = 0.06 * (index - (len(lines) - 1) / 2)
        colour, marker, dashes = LINES[index % len(LINES)]
        axes.errorbar(
            [places[value] + shift for value in line["value"]],
            line["mean"],
            yerr=line["half_width"],
            color=colour,
            marker=marker,
            linestyle=dashes,
            capsize=2.5,
            elinewidth=0.8,
            label=f"d = {dim}",
        )
    axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    axes.set_xlim(-0.5, len(values) - 0.5)
