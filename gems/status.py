"""How far every job of a configuration is; reads small files only, and loads no torch."""

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from gems.config import Config, needs
from gems.errors import GemsError
from gems.files import read_json
from gems.jobs import BEAT_SECONDS, Job, Kind, dataset_job, mf_job, run_job, vae_job
from gems.paths import Layout
from gems.progress import duration

# Signs of life that may be missed before a job counts as stopped: a full file server is slow.
SILENT_SECONDS = 5 * BEAT_SECONDS

State = Literal["done", "running", "failed", "stopped", "missing"]


@dataclass(frozen=True)
class Row:
    """One job in the table.

    Attributes:
        kind: what the job makes.
        job: its name.
        state: a stopped job goes on from its last state when it is tried again.
        progress: steps done of those to do, while it runs.
        value: return in the test, in the last validation while it runs; None if unknown.
        seconds_left: estimate, while it runs.
        seconds_silent: age of the last sign of life, while it runs.
        error: last line of the log of a job that failed.
        log: that log, or where it goes on.
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


def jobs(config: Config) -> Iterator[Job]:
    """Every job that the configuration asks for: datasets, VAEs, factorisations, runs."""
    wanted = {name for method in config.methods for name in needs(method, config)}
    for env in config.environments:
        if "vae" in wanted or ("mf" in wanted and env not in config.mf.files):
            yield dataset_job(config, env)
    if "vae" in wanted:
        yield from (vae_job(config, e, seed) for e in config.environments for seed in config.seeds)
    if "mf" in wanted:
        yield from (mf_job(config, env) for env in config.environments)
    for method in config.methods:
        for env in config.environments:
            yield from (run_job(config, method, env, seed) for seed in config.seeds)


def other_jobs(config: Config, known: set[tuple[Kind, str]]) -> Iterator[Job]:
    """Models and runs that have begun beside those ``known``: variants, other weights of a VAE."""
    root, layout = Path(config.results), Layout(Path(config.results))
    kinds: tuple[Kind, ...] = ("vae", "mf", "runs")
    begun = {(kind, path.name) for kind in kinds for path in root.glob(f".state/{kind}/*")}
    begun |= {("runs", path.name) for path in root.glob("runs/*")}
    begun |= {(k, path.stem) for k in kinds[:2] for path in root.glob(f"{k}/*.safetensors")}
    for kind, name in sorted(begun - known, key=lambda job: (kinds.index(job[0]), job)):
        weights = root / kind / f"{name}.safetensors"
        output = layout.run(name) / "result.json" if kind == "runs" else weights
        yield Job(kind, name, output, layout.state(kind, name), Path(str(config.logs)))


def read(config: Config) -> list[Row]:
    """The state of every job of ``config``, in the order of the pipeline, then of others."""
    wanted = list(jobs(config))
    return [
        _row(job)
        for job in (*wanted, *other_jobs(config, {(job.kind, job.name) for job in wanted}))
    ]


def _row(job: Job) -> Row:
    told, age = _told(job.progress)
    runs = told.get("state") == "running" and _alive(told, age)
    # Also after a later try that failed; whether the result is still true asks `gems verify`.
    if job.output.exists() and (not runs or _newer(job.output, job.progress)):
        return Row(job.kind, job.name, "done", value=_test_return(job))
    if not told:
        state: State = "stopped" if _has_state(job) else "missing"
        return Row(job.kind, job.name, state)
    log = told.get("log", "")
    if told["state"] == "failed":
        return Row(job.kind, job.name, "failed", error=_last_line(log) or told["error"], log=log)
    if not runs:
        return Row(job.kind, job.name, "stopped", progress=_progress(told), log=log)
    return Row(
        job.kind,
        job.name,
        "running",
        progress=_progress(told) or "starting",
        value=told.get("figures", {}).get("validation return"),
        seconds_left=told.get("seconds_left"),
        seconds_silent=age,
        log=log,
    )


def _told(path: Path) -> tuple[dict[str, Any], float]:
    """What a job has told of itself, and how many seconds ago; empty if nothing."""
    try:
        return json.loads(path.read_text()), max(0.0, time.time() - path.stat().st_mtime)
    except (OSError, ValueError):
        return {}, 0.0


def _newer(output: Path, progress: Path) -> bool:
    try:
        return output.stat().st_mtime_ns >= progress.stat().st_mtime_ns
    except OSError:  # the job has ended just now
        return output.exists()


def _alive(told: dict[str, Any], age: float) -> bool:
    """Whether a job still runs: by its process on this host, by its signs of life elsewhere."""
    if age > SILENT_SECONDS:
        return False
    if told["host"] != socket.gethostname():
        return True
    try:
        os.kill(told["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def _has_state(job: Job) -> bool:
    return job.state.is_dir() and any(job.state.iterdir())


def _test_return(job: Job) -> float | None:
    if job.kind != "runs":
        return None
    with suppress(GemsError, KeyError, TypeError):
        return float(read_json(job.output)["test_return"])
    return None


def _progress(told: dict[str, Any]) -> str:
    if "done" not in told:
        return ""
    total = "" if told["total"] is None else f"/{told['total']}"
    return f"{told['done']}{total} {told['unit']}"


def _last_line(log: str) -> str:
    """Last line that says something; logs end in their error."""
    with suppress(OSError), open(log, "rb") as file:  # noqa: PTH123
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        lines = file.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    return ""


def as_json(rows: list[Row]) -> str:
    """The rows as a JSON list of objects."""
    return json.dumps([asdict(row) for row in rows], indent=2)


def table(rows: list[Row]) -> str:
    """The rows as aligned text, with a line of counts at the end."""
    titles = ("KIND", "JOB", "STATE", "PROGRESS", "RETURN", "LEFT", "")
    cells = [titles, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    counts = Counter(row.state for row in rows)
    states: tuple[State, ...] = ("done", "running", "failed", "stopped", "missing")
    summary = ", ".join(f"{counts[state]} {state}" for state in states)
    return "\n".join([*lines, f"{len(rows)} jobs: {summary}"])


def _cells(row: Row) -> tuple[str, ...]:
    notes = [row.error]
    if row.seconds_silent is not None:
        notes.append(f"heard of {duration(row.seconds_silent)} ago")
    return (
        row.kind,
        row.job,
        row.state,
        row.progress,
        "" if row.value is None else f"{row.value:.1f}",
        "" if row.seconds_left is None else duration(row.seconds_left),
        ", ".join(note for note in notes if note),
    )
