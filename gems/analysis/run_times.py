"""How long runs took."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from gems.analysis import layout
from gems.analysis.runs import read_results
from gems.analysis.scale import scale_note
from gems.errors import GemsError
from gems.registry import METHODS

CAPTION = (
    "Wall-clock time of each run from the start of its first try to its end, training and test; "
    "a run that was stopped and resumed counts the time between."
)


def run_times(runs: pd.DataFrame) -> pd.DataFrame:
    """Seconds by method and machine: runs, mean, least, largest, and hours in all.

    Raises:
        GemsError: a run does not tell its time.
    """
    unknown = runs[runs["seconds"].isna()]
    if len(unknown):
        raise GemsError(f"{unknown.iloc[0]['folder']} has no provenance.json with its times.")
    rows = []
    groups = dict(list(runs.groupby(["method", "host", "device"])))
    for method, entry in METHODS.items():
        for (name, host, device), cell in groups.items():
            if name == method:
                seconds = cell["seconds"]
                rows.append(
                    {
                        "method": entry.label,
                        "host": host,
                        "device": device,
                        "runs": len(cell),
                        "training_episodes": cell["training_episodes"].max(),
                        "mean_seconds": seconds.mean(),
                        "least_seconds": seconds.min(),
                        "largest_seconds": seconds.max(),
                        "hours_in_all": seconds.sum() / 3600,
                    }
                )
    return pd.DataFrame(rows)


def write_run_times(results: Iterable[Path], output: Path) -> list[Path]:
    """Write the times as CSV to ``output``, and as HTML beside it.

    Raises:
        GemsError: there is no result, or one does not tell its time.
    """
    runs = read_results(results)
    table = run_times(runs)
    if not len(table):
        raise GemsError("The table of run times needs at least one result file.")
    sheet = layout.sheet_of("Run times", table, CAPTION, scale_note(runs))
    return layout.write(output, table, sheet, ".html")
