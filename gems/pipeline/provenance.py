"""Provenance: a JSON record beside each result.

Does not import torch, so that hundreds of records are checked in seconds.
"""

import platform
import socket
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gems.pipeline.job import FIGURE, PROVENANCE, TABLE, Job
from gems.runtime.attempt import now
from gems.runtime.files import relative, sha256, write_json

PACKAGES = (
    *("gems", "numba", "numpy", "pandas", "pydantic", "pytorch-lightning"),
    *("safetensors", "scipy", "snakemake", "swanlab", "torch"),
)


def record_of(job: Job) -> Path:
    """Path of a job's record: in its output folder, or beside its output file."""
    if job.output.suffix == ".json":
        return job.output.with_name(PROVENANCE)
    if job.stage in (TABLE, FIGURE):  # with the suffix: they may share a name and a folder
        return job.output.with_name(f"{job.output.name}.{PROVENANCE}")
    return job.output.with_suffix(f".{PROVENANCE}")


def write(
    job: Job,
    *,
    started: str,
    tries: int = 1,
    device: str = "cpu",
    logged_users: int | None = None,
) -> None:
    """Write the record of a finished job.

    Args:
        job: the job.
        started: when its first attempt started, ISO 8601.
        tries: number of attempts.
        device: device that networks were trained on.
        logged_users: number of logged users that the run's pretrained models were trained on.

    Raises:
        GemsError: the record cannot be written.
    """
    path = record_of(job)

    def digests(files: Iterable[Path]) -> dict[str, str]:
        return {relative(file, path.parent): sha256(file) for file in files}

    record = {
        "stage": job.stage,
        **job.identity,
        "code": job.code(),
        "config": job.values,
        "inputs": digests(job.input_files),
        "outputs": digests(job.files),
        "started": started,
        "ended": now(),
        "tries": tries,
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "device": device,
        "logged_users": logged_users,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }
    write_json(path, record)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
