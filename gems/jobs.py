"""Jobs: their names and traces, the log that each writes, and the sign of life it gives.

A job keeps one log for all its tries. While it runs it writes ``progress.json`` into the folder of
its training state, and removes it at the end; one that is left behind tells how the job ended.
"""

import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, cast

from gems import registry
from gems.config import Config
from gems.errors import GemsError
from gems.paths import Layout, mf_suffix, plain, run_name
from gems.progress import Progress, duration

BEAT_SECONDS = 30.0

Kind = Literal["datasets", "vae", "mf", "runs"]

logger = logging.getLogger("gems")


@dataclass(frozen=True)
class Job:
    """One job of the pipeline.

    Attributes:
        kind: what it makes; also the folder of its training state.
        name: its name; that of a run is its name in the tracker too.
        output: the file that is written last, and so tells that the job is done.
        state: folder of its training state and of ``progress.json``.
        log: path of its log without ``_DATE.log``.
    """

    kind: Kind
    name: str
    output: Path
    state: Path
    log: Path

    def log_file(self) -> Path:
        """Its log; named by the day of the first try, and kept by later ones."""
        digits = "[0-9]" * 8
        earlier = sorted(self.log.parent.glob(f"{self.log.name}_{digits}.log"))
        today = self.log.with_name(f"{self.log.name}_{date.today():%Y%m%d}.log")
        return earlier[0] if earlier else today

    @property
    def progress(self) -> Path:
        """The file that tells how far it is, or how it ended without its output."""
        return self.state / "progress.json"


def _job(
    config: Config, kind: Kind, name: str, output: Path, method: str, seed: int, rest: str
) -> Job:
    state = Layout(Path(config.results)).state(kind, name)
    log = Path(str(config.logs)) / f"log_{seed}" / method / rest
    return Job(kind, name, output, state, log)


def dataset_job(config: Config, env: str) -> Job:
    """The logged dataset of an environment."""
    output = Layout(Path(config.results)).dataset(env) / "dataset.json"
    return _job(config, "datasets", env, output, "dataset", config.logging.seed, env)


def vae_job(config: Config, env: str, seed: int) -> Job:
    """The slate VAE of an environment and seed."""
    vae = config.vae
    layout = Layout(Path(config.results))
    output = layout.vae(env, vae.latent_dim, vae.beta, vae.lambda_click, seed)
    rest = f"{env}_latentdim{vae.latent_dim}_KL{plain(vae.beta)}_click{plain(vae.lambda_click)}"
    return _job(config, "vae", output.stem, output, "GeMS_VAE", seed, rest)


def mf_job(config: Config, env: str) -> Job:
    """Matrix factorisation of an environment, or the import of its item table."""
    suffix = mf_suffix(config.mf.validation, env in config.mf.files)
    output, name = Layout(Path(config.results)).mf(env, suffix), f"{env}{suffix}"
    return _job(config, "mf", name, output, "MF", cast(int, config.mf.seed), name)


def run_job(config: Config, method: str, env: str, seed: int, variant: str = "") -> Job:
    """A run of a method in an environment with a seed."""
    name = run_name(method, env, seed, config.vae.beta, config.vae.lambda_click, variant)
    output = Layout(Path(config.results)).run(name) / "result.json"
    slug = registry.slug(method)
    rest = name.removeprefix(f"{slug}_").replace(f"_seed{seed}", "", 1)
    return _job(config, "runs", name, output, slug, seed, rest)


@contextmanager
def running(job: Job) -> Iterator[None]:
    """Log what happens within, and give a sign of life every ``BEAT_SECONDS``.

    An error ends the log, with its traceback unless it is a ``GemsError``.
    """
    log, started = _LogFile(job.log_file()), time.monotonic()
    logger.addHandler(log)
    where = {"host": socket.gethostname(), "pid": os.getpid(), "log": str(log.path)}
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(job, where, over), daemon=True)
    log.line(logging.INFO, f"{job.name}: starts on {where['host']}, process {where['pid']}")
    _write(job, where | {"state": "running"})
    beat.start()
    outcome: dict[str, Any] = {}
    try:
        yield
    except BaseException as error:
        outcome = _outcome(job, error, log)
        raise
    else:
        took = duration(time.monotonic() - started)
        log.line(logging.INFO, f"{job.name}: done in {took}")
    finally:
        over.set()
        beat.join()
        if outcome:
            _write(job, where | outcome)
        else:
            job.progress.unlink(missing_ok=True)
        logger.removeHandler(log)
        log.close()


def _outcome(job: Job, error: BaseException, log: "_LogFile") -> dict[str, Any]:
    """Log the error that ends a job, and say how it ended."""
    if isinstance(error, GemsError):
        log.line(logging.ERROR, str(error))
        return {"state": "failed", "error": str(error)}
    if isinstance(error, Exception):
        log.line(logging.ERROR, f"{job.name}: broke down", traceback=True)
        return {"state": "failed", "error": f"{type(error).__name__}: {error}"}
    log.line(
        logging.ERROR, f"{job.name}: stopped by a signal; the next try takes up the last state"
    )
    return {"state": "stopped"}


def _beat(job: Job, where: dict[str, Any], over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        stage = Progress.current
        _write(job, where | {"state": "running"} | (stage.snapshot() if stage else {}))


def _write(job: Job, values: dict[str, Any]) -> None:
    """Write the file of progress whole; what cannot be written (full disk) is left out."""
    # Not by `written_whole`, which sets the umask of the whole process for a moment.
    temporary = job.progress.with_suffix(".tmp")
    with suppress(OSError):
        job.state.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(json.dumps(values))
            temporary.replace(job.progress)
        finally:
            temporary.unlink(missing_ok=True)


class _LogFile(logging.FileHandler):
    """The log of a job: appended to, flushed line by line; if that fails it warns once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="a", encoding="utf-8", delay=True)
        self.path = path
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._broken = False

    def line(self, level: int, message: str, traceback: bool = False) -> None:
        """Log what who called the command knows or is told otherwise: here only."""
        trace, name = sys.exc_info() if traceback else None, logger.name
        self.handle(logging.LogRecord(name, level, __file__, 0, message, None, trace))

    def emit(self, record: logging.LogRecord) -> None:
        if not self._broken:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                super().emit(record)
            except OSError:
                self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        self._broken = True
        print(f"The log stops, the job goes on: {sys.exception()}", file=sys.stderr, flush=True)
