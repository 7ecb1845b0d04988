"""Wall-clock times of runs."""

import pandas as pd

from gems.analysis.layout import Sheet, formatted
from gems.analysis.names import label, order_of_methods
from gems.analysis.scale import scale_note
from gems.errors import GemsError

CAPTION = (
    "Wall-clock time of training and test, from the start of the first attempt at a run to its "
    "end; for a run that was stopped and resumed, the pause counts."
)


def make(runs: pd.DataFrame) -> tuple[pd.DataFrame, Sheet]:
    table = run_times(runs)
    cells = {
        "Method": table["method"],
        "Host": table["host"],
        "Device": table["device"],
        "Runs": formatted(table["runs"], ",.0f"),
        "Training episodes": formatted(table["training_episodes"], ",.0f"),
        "Mean [s]": formatted(table["mean_seconds"], ",.1f"),
        "Shortest [s]": formatted(table["least_seconds"], ",.1f"),
        "Longest [s]": formatted(table["largest_seconds"], ",.1f"),
        "Total [h]": formatted(table["hours_in_all"], ",.2f"),
    }
    return table, Sheet(pd.DataFrame(cells), CAPTION, scale_note(runs), text_columns=3)


def run_times(runs: pd.DataFrame) -> pd.DataFrame:
    """Number of runs, mean, minimum and maximum seconds and total hours by method and machine.

    Raises:
        GemsError: the provenance of a run is missing.
    """
    unknown = runs[runs["seconds"].isna()]
    if len(unknown):
        folder = unknown["folder"].iloc[0]
        raise GemsError(f"{folder} has no provenance.json with its times; repeat the run.")
    table = runs.groupby(["method", "host", "device"], as_index=False).agg(
        runs=("seconds", "size"),
        training_episodes=("training_episodes", "max"),
        mean_seconds=("seconds", "mean"),
        least_seconds=("seconds", "min"),
        largest_seconds=("seconds", "max"),
        hours_in_all=("seconds", "sum"),
    )
    table["hours_in_all"] /= 3600
    places = {method: place for place, method in enumerate(order_of_methods(table["method"]))}
    table = table.sort_values("method", key=lambda names: names.map(places), kind="stable")
    return table.assign(method=table["method"].map(label))
