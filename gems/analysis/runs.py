"""Finished runs as rows: what tables and figures read of the files that runs leave."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gems.errors import GemsError
from gems.files import read_json
from gems.registry import ENVIRONMENTS, METHODS

RUN = ["method", "environment", "seed"]


class Result(BaseModel):
    """What tables take of a ``result.json``."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    method: str
    environment: str
    seed: int
    test_return: float
    training_episodes: int = Field(ge=0)
    test_users: int = Field(gt=0)
    validation_return: float | None = None


class Provenance(BaseModel):
    """What tables take of the ``provenance.json`` beside it."""

    model_config = ConfigDict(allow_inf_nan=False)

    variant: str = ""
    config: dict[str, dict[str, Any]]
    logged_users: int | None = None
    started: datetime
    ended: datetime
    host: str
    device: str


def read_results(paths: Iterable[Path]) -> pd.DataFrame:
    """One row a run, sorted, from ``result.json`` files and what ``provenance.json`` tells beside.

    Columns: those of ``Result``; variant, logged_users, config (as a dict; empty if not known),
    seconds, host, device, folder, vae (a name of its beta, lambda and latent dimensions).

    Raises:
        GemsError: a file is missing, damaged or of an unknown method, or two are of one run.
    """
    rows = []
    for path in paths:
        result = _read(Result, path, "the result of a run")
        if result.method not in METHODS or result.environment not in ENVIRONMENTS:
            raise GemsError(f"{path} is of an unknown method or environment.")
        rows.append({**result.model_dump(), **_provenance(path.with_name("provenance.json"))})
    columns = [*Result.model_fields, "variant", "logged_users", "config"]
    runs = pd.DataFrame(rows, columns=[*columns, "seconds", "host", "device", "folder"])
    runs["vae"] = [str(_vae(config)) for config in runs["config"]]
    twice = runs[runs.duplicated([*RUN, "variant", "vae"], keep=False)]
    if len(twice):
        raise GemsError(
            "Two results are of one run: {}, {}, {}.".format(*(twice.iloc[1][f] for f in RUN))
        )
    # Whatever the order of the files, sums and drawings come out the same.
    return runs.sort_values([*RUN, "variant", "vae"], kind="stable", ignore_index=True)


def _read(model: type[Any], path: Path, what: str) -> Any:
    try:
        return model.model_validate(read_json(path))
    except ValidationError:
        raise GemsError(f"{path} is not {what}.") from None


def _provenance(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"variant": "", "config": {}, "folder": path.parent}
    found = _read(Provenance, path, "the provenance of a run")
    return {
        "variant": found.variant,
        "config": found.config,
        "logged_users": found.logged_users,
        "seconds": (found.ended - found.started).total_seconds(),
        "host": found.host,
        "device": found.device,
        "folder": path.parent,
    }


def _vae(config: dict[str, Any]) -> tuple[Any, ...]:
    vae = config.get("vae", {})
    return vae.get("beta"), vae.get("lambda_click"), vae.get("latent_dim")


def main_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that are no variants: those of Table 2.

    Raises:
        GemsError: runs of one method in one environment differ in their VAE.
    """
    runs = runs[runs["variant"] == ""]
    for _, pooled in runs[runs["config"].astype(bool)].groupby(["method", "environment"]):
        of_each = pooled.drop_duplicates("vae")["folder"]
        if len(of_each) > 1:
            names = " and ".join(folder.name for folder in of_each[:2])
            raise GemsError(f"{names} differ in their VAE; give the runs of one VAE.")
    return runs


def option(runs: pd.DataFrame, section: str, name: str) -> pd.Series:
    """An option of the configuration of each run.

    Raises:
        GemsError: a run does not tell it, for want of its ``provenance.json``.
    """
    values = [config.get(section, {}).get(name) for config in runs["config"]]
    for value, folder in zip(values, runs["folder"], strict=True):
        if value is None:
            raise GemsError(f"{folder} has no provenance.json that tells {section}.{name}.")
    return pd.Series(values, index=runs.index)


def read_csv(folder: Path, name: str, columns: Iterable[str]) -> pd.DataFrame:
    """A CSV file of a run.

    Raises:
        GemsError: it is missing, damaged or without one of ``columns``.
    """
    path = folder / name
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise GemsError(f"{path} does not exist; make the run again.") from None
    except (OSError, ValueError) as error:
        raise GemsError(f"{path} is not a readable CSV file: {error}") from error
    missing = [column for column in columns if column not in table]
    if missing:
        raise GemsError(f"{path} has no column {missing[0]}.")
    return table
