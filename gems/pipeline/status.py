"""Status of every job of a configuration; reads small files only and does not import torch."""

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from gems.config import Config
from gems.errors import GemsError
from gems.pipeline.job import RUN, Job
from gems.pipeline.running import BEAT_SECONDS
from gems.pipeline.stages import jobs
from gems.pretraining.models import PRETRAINED
from gems.runtime.files import read_json
from gems.runtime.progress import duration

# A slow file server may delay heartbeats; a job counts as stopped after this time without one.
SILENT_SECONDS = 5 * BEAT_SECONDS

State = Literal["done", "running", "failed", "stopped", "missing"]


@dataclass(frozen=True)
class Row:
    """Status of one job.

    Attributes:
        kind: folder of results that the job writes to.
        job: name of the job.
        state: a stopped job resumes from its last saved state when it is started again.
        progress: steps done and steps in total.
        value: test return, or validation return while the job runs; None if unknown.
        seconds_left: estimated time left while the job runs.
        seconds_silent: age of the last heartbeat while the job runs.
        error: last line of the log of a failed job.
        log: path of the log.
    """

    kind: str
    job: str
    state: State
    progress: str = ""
    value: float | None = None
    seconds_left: float | None = None
    seconds_silent: float | None = None
    error: str = ""
    log: str = ""


def other_jobs(config: Config, known: set[tuple[str, str]]) -> Iterator[Job]:
    """Models and runs on disk other than those ``known``: variants, models of other options."""
    root = Path(config.results)
    for stage, pattern in (*((name, "*.safetensors") for name in PRETRAINED), (RUN, "*")):
        folder = "runs" if stage == RUN else stage
        names = {path.name for path in root.glob(f".state/{folder}/*")}
        names |= {path.name.removesuffix(pattern[1:]) for path in root.glob(f"{folder}/{pattern}")}
        for name in sorted(names - {name for known_in, name in known if known_in == folder}):
            last = f"{name}/result.json" if stage == RUN else f"{name}.safetensors"
            state = root / ".state" / folder / name
            yield Job(stage, name, root / folder / last, state, Path(str(config.logs)))


def read(config: Config) -> list[Row]:
    """Rows of the jobs of ``config`` in the order of the pipeline, then of other jobs."""
    planned = list(jobs(config))
    known = {(job.folder, job.name) for job in planned}
    return [_row(job) for job in (*planned, *other_jobs(config, known))]


def _row(job: Job) -> Row:
    heartbeat, age = _heartbeat(job.progress)
    running = heartbeat.get("state") == "running" and _alive(heartbeat, age)
    # A finished job stays done if a later attempt fails; `gems verify` checks its result.
    if job.output.exists() and (not running or _newer(job.output, job.progress)):
        return Row(job.folder, job.name, "done", value=_test_return(job))
    if not heartbeat:
        state: State = "stopped" if _has_state(job) else "missing"
        return Row(job.folder, job.name, state)
    log = heartbeat.get("log", "")
    if heartbeat["state"] == "failed":
        error = _last_line(log) or heartbeat["error"]
        return Row(job.folder, job.name, "failed", error=error, log=log)
    if not running:
        return Row(job.folder, job.name, "stopped", progress=_progress(heartbeat), log=log)
    return Row(
        job.folder,
        job.name,
        "running",
        progress=_progress(heartbeat) or "starting",
        value=heartbeat.get("figures", {}).get("validation return"),
        seconds_left=heartbeat.get("seconds_left"),
        seconds_silent=age,
        log=log,
    )


def _heartbeat(path: Path) -> tuple[dict[str, Any], float]:
    """Contents of ``progress.json`` and their age in seconds; empty if there is none."""
    try:
        return json.loads(path.read_text()), max(0.0, time.time() - path.stat().st_mtime)
    except (OSError, ValueError):
        return {}, 0.0


def _newer(output: Path, progress: Path) -> bool:
    try:
        return output.stat().st_mtime_ns >= progress.stat().st_mtime_ns
    except OSError:  # the job has just ended and removed its progress
        return output.exists()


def _alive(heartbeat: dict[str, Any], age: float) -> bool:
    """Whether a job still runs: by its process on this host, by its heartbeat elsewhere."""
    if age > SILENT_SECONDS:
        return False
    if heartbeat["host"] != socket.gethostname():
        return True
    try:
        os.kill(heartbeat["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it belongs to another user
        pass
    return True


def _has_state(job: Job) -> bool:
    return job.state.is_dir() and any(job.state.iterdir())


def _test_return(job: Job) -> float | None:
    if job.stage != RUN:
        return None
    with suppress(GemsError, KeyError, TypeError):
        return float(read_json(job.output)["test_return"])
    return None


def _progress(heartbeat: dict[str, Any]) -> str:
    if "done" not in heartbeat:
        return ""
    total = "" if heartbeat["total"] is None else f"/{heartbeat['total']}"
    return f"{heartbeat['done']}{total} {heartbeat['unit']}"


def _last_line(log: str) -> str:
    """Last line of a log that is not empty: the error, if the job failed."""
    with suppress(OSError), open(log, "rb") as file:  # noqa: PTH123
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        lines = file.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    return ""


def as_json(rows: list[Row]) -> str:
    return json.dumps([asdict(row) for row in rows], indent=2)


def table(rows: list[Row]) -> str:
    titles = ("KIND", "JOB", "STATE", "PROGRESS", "RETURN", "LEFT", "")
    cells = [titles, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    counts = Counter(row.state for row in rows)
    summary = ", ".join(f"{counts[state]} {state}" for state in get_args(State))
    return "\n".join([*lines, f"{len(rows)} jobs: {summary}"])


def _cells(row: Row) -> tuple[str, ...]:
    notes = [row.error]
    if row.seconds_silent is not None:
        notes.append(f"last heartbeat {row.seconds_silent:.0f} s ago")
    return (
        row.kind,
        row.job,
        row.state,
        row.progress,
        "" if row.value is None else f"{row.value:.1f}",
        "" if row.seconds_left is None else duration(row.seconds_left),
        ", ".join(note for note in notes if note),
    )
