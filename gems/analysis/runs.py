"""Finished runs as a data frame, for tables and figures."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gems.errors import GemsError
from gems.runtime.files import read_json

RUN = ["method", "environment", "seed"]


class Result(BaseModel):
    """The fields of ``result.json`` that tables use."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    method: str
    environment: str
    seed: int
    test_return: float
    training_episodes: int = Field(ge=0)
    test_users: int = Field(gt=0)
    validation_return: float | None = None


class Provenance(BaseModel):
    """The fields of ``provenance.json`` that tables use."""

    model_config = ConfigDict(allow_inf_nan=False)

    variant: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    config: dict[str, dict[str, Any]]
    logged_users: int | None = None
    started: datetime
    ended: datetime
    host: str
    device: str


def read_results(paths: Iterable[Path]) -> pd.DataFrame:
    """One row per run, sorted, from ``result.json`` files and the ``provenance.json`` beside each.

    Columns: those of ``Result``; variant, logged_users, config (a dict; empty if unknown), seconds,
    host, device, folder, vae (text of beta, lambda, latent dimension and dataset).

    Raises:
        GemsError: a file is missing or damaged, or two files are of one run.
    """
    rows = []
    for path in paths:
        result = _read(Result, path, "the result of a run")
        rows.append({**result.model_dump(), **_provenance(path.with_name("provenance.json"))})
    columns = [*Result.model_fields, "variant", "options", "logged_users", "config"]
    runs = pd.DataFrame(rows, columns=[*columns, "seconds", "host", "device", "folder"])
    datasets = [options.get("dataset") for options in runs["options"]]
    runs["vae"] = [str((*_vae(c), d)) for c, d in zip(runs["config"], datasets, strict=True)]
    duplicates = runs[runs.duplicated([*RUN, "variant", "vae"], keep=False)]
    if len(duplicates):
        same = ", ".join(str(duplicates.iloc[0][name]) for name in RUN)
        raise GemsError(f"Two of the results are of one run: {same}. Name each run once.")
    # Sorted, so that sums and figures do not depend on the order of the files.
    return runs.sort_values([*RUN, "variant", "vae"], kind="stable", ignore_index=True)


def _read(model: type[Any], path: Path, what: str) -> Any:
    try:
        return model.model_validate(read_json(path))
    except ValidationError:
        raise GemsError(f"{path} is damaged, or is not {what}; repeat the run.") from None


def _provenance(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"variant": "", "options": {}, "config": {}, "folder": path.parent}
    provenance = _read(Provenance, path, "the provenance of a run")
    seconds = (provenance.ended - provenance.started).total_seconds()
    return {**provenance.model_dump(), "seconds": seconds, "folder": path.parent}


def _vae(config: dict[str, Any]) -> tuple[Any, ...]:
    vae = config.get("vae", {})
    return vae.get("beta"), vae.get("lambda_click"), vae.get("latent_dim")


def main_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of Table 2: those that are not variants.

    Raises:
        GemsError: there are none, or runs of a method in an environment differ in their VAE, or in
            the dataset of their pretrained models.
    """
    runs = runs[runs["variant"] == ""]
    if not len(runs):
        raise GemsError("All results are of variants; name results of main runs too.")
    for _, cell in runs[runs["config"].astype(bool)].groupby(["method", "environment"]):
        folders = cell.drop_duplicates("vae")["folder"]
        if len(folders) > 1:
            names = " and ".join(folder.name for folder in folders[:2])
            raise GemsError(
                f"{names} differ in their VAE or its dataset; name the runs of one of them."
            )
    return runs


def option(runs: pd.DataFrame, section: str, name: str) -> pd.Series:
    """The value of an option in each run.

    Raises:
        GemsError: the ``provenance.json`` of a run is missing or lacks the option.
    """
    values = [_section(config, section).get(name) for config in runs["config"]]
    for value, folder in zip(values, runs["folder"], strict=True):
        if value is None:
            raise GemsError(
                f"{folder}/provenance.json is missing or lacks {section}.{name}; repeat the run."
            )
    return pd.Series(values, index=runs.index)


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
    """A section of the configuration of a run; that of the simulator belongs to its environment."""
    found: dict[str, Any] = config.get(name) or config.get("environment", {}).get(name, {})
    return found


def read_csv(folder: Path, name: str, columns: Iterable[str]) -> pd.DataFrame:
    """A CSV file of a run.

    Raises:
        GemsError: the file is missing or damaged, or lacks one of ``columns``.
    """
    path = folder / name
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise GemsError(f"{path} does not exist; repeat the run.") from None
    except (OSError, ValueError) as error:
        raise GemsError(f"{path} is not a readable CSV file: {error}") from error
    missing = [column for column in columns if column not in table]
    if missing:
        raise GemsError(f"{path} has no column {missing[0]}.")
    return table
