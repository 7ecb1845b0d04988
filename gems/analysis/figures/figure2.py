"""Figure 2 (RQ2): scores of recommended items by number of bored topics."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gems.analysis import style
from gems.analysis.names import environment_title
from gems.analysis.runs import option, read_csv
from gems.analysis.scale import scale_note
from gems.errors import GemsError
from gems.methods import REFERENCE_METHOD

COLUMNS = ["score_from", "bored_topics", "count", "score_sum"]
BIN = 0.02
MOST_BORED = 3
# The axis covers the bins with at least this percentage of items.
LEAST_SHARE = 0.05
ORACLE = "ShortTermOracle"


def panels(runs: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    """(title, run) of the short-term oracle, then of SAC+GeMS by decreasing discount factor.

    Raises:
        GemsError: the runs are not one of the oracle and some of SAC+GeMS, of one environment.
    """
    oracle, gems = (runs[runs["method"] == name] for name in (ORACLE, REFERENCE_METHOD))
    if len(oracle) != 1 or not len(gems) or runs["environment"].nunique() != 1:
        raise GemsError(
            "Figure 2 needs one run of ShortTermOracle and the runs of SAC+GeMS with each discount "
            "factor, all in one environment."
        )
    gems = gems.assign(gamma=option(gems, "agent", "gamma")).sort_values("gamma", ascending=False)
    first = [("Short-term oracle", oracle.iloc[0])]
    return first + [(f"SAC+GeMS, γ = {run['gamma']:g}", run) for _, run in gems.iterrows()]


def shares(scores: pd.DataFrame) -> pd.DataFrame:
    """Percentage of recommended items by score (rows) and number of bored topics (columns).

    Rows are bins of width ``BIN``, named by their left edge; the last column counts ``MOST_BORED``
    or more bored topics.
    """
    bins = (scores["score_from"] / BIN + 1e-9).apply(np.floor).astype(int)
    groups = scores["bored_topics"].clip(upper=MOST_BORED)
    counts = scores.groupby([bins, groups])["count"].sum().unstack(fill_value=0)
    counts = counts.reindex(columns=range(MOST_BORED + 1), fill_value=0)
    counts = counts.reindex(range(min(bins.min(), 0), bins.max() + 1), fill_value=0)
    counts.index = pd.Index(counts.index * BIN)
    return 100 * counts / counts.to_numpy().sum()


def make(runs: pd.DataFrame) -> Figure:
    """Plot stacked histograms of scores, the relevance threshold and the mean score."""
    titled = panels(runs)
    threshold = option(runs, "simulator", "relevance_threshold").iloc[0]
    figure = style.new_figure(style.PAGE, 2.7, scale_note(runs, n_seeds=1))
    figure.suptitle(environment_title(runs["environment"].iloc[0]), size=8)
    all_axes = figure.subplots(1, len(titled), sharex=True, sharey=True, squeeze=False)[0]
    edges = [0.0]
    for axes, (title, run) in zip(all_axes, titled, strict=True):
        table = _panel(axes, read_csv(run["folder"], "scores.csv", COLUMNS), threshold)
        edges += table.index[table.sum(axis=1) >= LEAST_SHARE].to_list()
        axes.set_title(f"{title}\nmean return {run['test_return']:z.1f}")
    all_axes[0].set_xlim(min(edges) - BIN, max(edges) + 2 * BIN)
    style.from_zero(all_axes)
    all_axes[0].set_ylabel("Recommended items [%]")
    all_axes[len(titled) // 2].set_xlabel("Score of the item for the user, 0 in bored topics")
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles[2:], labels[2:], loc="outside right upper", title="Bored topics")
    figure.legend(handles[:2], labels[:2], loc="outside right lower")
    return figure


def _panel(axes: Axes, scores: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Draw one run; returns the percentages drawn."""
    table = shares(scores)
    colours = colormaps["cividis_r"](np.linspace(0, 1, MOST_BORED + 1))
    bottom = np.zeros(len(table))
    for bored in table.columns:
        more = " or more" if bored == MOST_BORED else ""
        values = table[bored].to_numpy()
        axes.bar(
            table.index,
            values,
            width=BIN,
            align="edge",
            bottom=bottom,
            color=colours[bored],
            edgecolor="white",
            linewidth=0.2,
            label=f"{bored}{more}",
        )
        bottom += values
    mean = scores["score_sum"].sum() / scores["count"].sum()
    axes.use_sticky_edges = False
    axes.axvline(threshold, color="black", linestyle="--", linewidth=1, label="threshold")
    axes.axvline(mean, color="#D55E00", linewidth=1.2, label="mean score")
    return table
