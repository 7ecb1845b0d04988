"""The command ``gems import``."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gems.cli.jobs import configured, positive
from gems.config import Config
from gems.config.file_names import check_dataset_name
from gems.errors import GemsError
from gems.pipeline import provenance, stages
from gems.runtime.attempt import Attempt

if TYPE_CHECKING:
    from gems.data.dataset import Dataset

COLUMNS = {
    "user": "the user",
    "slate": "the items of a slate",
    "clicks": "the clicks of a slate",
    "turn": "the turn or request; optional with one row per slate",
    "item": "an item",
    "position": "the position of the item in its slate",
    "click": "whether the item was clicked",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "file", type=Path, help=".parquet, .csv, .jsonl or .ndjson; text files also as .gz"
    )
    command.add_argument("--name", required=True, help="name of the dataset")
    command.add_argument(
        "--layout",
        choices=("slates", "items"),
        help="one row per slate, or one row per item; default: by the columns",
    )
    command.add_argument(
        "--items",
        type=positive("number of items"),
        metavar="N",
        help="number of items, if they are numbered from 0 to N - 1; default: number them by id",
    )
    for role, what in COLUMNS.items():
        command.add_argument(
            f"--{role}", metavar="COLUMN", help=f"column of {what}; default: {role}"
        )


def import_command(args: argparse.Namespace) -> None:
    """Import logged slates and clicks from a file, as a dataset to pretrain on."""
    from gems.data.import_logs import import_logs

    config = configured(args)
    _check_name(args.name, config)
    columns = {role: column for role in COLUMNS if (column := getattr(args, role)) is not None}
    options = {"layout": args.layout, "items": args.items, "columns": columns}
    job = stages.import_job(config, args.name, options)
    replaces = job.output.exists()
    with Attempt(job.state) as attempt:
        data = import_logs(args.file, job.output.parent, **options)
        job = replace(job, files=_files(data), inputs={"source": args.file})
        provenance.write(job, started=attempt.started, tries=attempt.number)
    print(_summary(data))
    if replaces:
        print("It replaces an earlier dataset of this name; models of the earlier one are stale.")


def _check_name(name: str, config: Config) -> None:
    try:
        check_dataset_name(name, config.known_environments())
    except ValueError as error:
        raise GemsError(f"--name: {error}.") from None
    if name in config.collections:
        raise GemsError(f"--name: the configuration collects a dataset {name}; choose another.")


def _files(data: "Dataset") -> tuple[Path, ...]:
    return tuple(sorted(path for path in data.folder.iterdir() if path.is_file()))


def _summary(data: "Dataset") -> str:
    import numpy as np

    turns = np.diff(data.starts)
    clicks = int(np.bitwise_count(data.packed_clicks).sum())
    figures = {
        "users": f"{data.users:,}",
        "items": f"{data.meta['items']:,}",
        "slates": f"{data.slates:,} of {data.slate_size} items",
        "turns a user": f"{turns.min()} to {turns.max()}, median {np.median(turns):g}",
        "click rate": f"{clicks / (data.slates * data.slate_size):.4f}",
    }
    return "\n".join([f"{data.folder}:", *(f"  {name}: {n}" for name, n in figures.items())])
