"""Log file and heartbeat of a running job.

All attempts at a job share one log. A running job updates ``progress.json`` in its state folder
and removes it on success; otherwise the file records how the job ended.
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
from datetime import date
from pathlib import Path
from typing import Any

from gems.errors import GemsError
from gems.pipeline.job import Job
from gems.runtime.files import written_whole
from gems.runtime.progress import Progress, duration

BEAT_SECONDS = 30.0

logger = logging.getLogger("gems")


def log_file(job: Job) -> Path:
    """Log of a job, named by the date of the first attempt; later attempts append to it."""
    digits = "[0-9]" * 8
    earlier = sorted(job.log.parent.glob(f"{job.log.name}_{digits}.log"))
    today = job.log.with_name(f"{job.log.name}_{date.today():%Y%m%d}.log")
    return earlier[0] if earlier else today


@contextmanager
def running(job: Job) -> Iterator[None]:
    """Write the job's log, and a heartbeat every ``BEAT_SECONDS``, while the block runs.

    An error is logged, with its traceback unless it is a ``GemsError``.
    """
    log, started = _LogFile(log_file(job)), time.monotonic()
    logger.addHandler(log)
    where = {"host": socket.gethostname(), "pid": os.getpid(), "log": str(log.path)}
    finished = threading.Event()
    beat = threading.Thread(target=_beat, args=(job, where, finished), daemon=True)
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
        finished.set()
        beat.join()
        if outcome:
            _write(job, where | outcome)
        else:
            job.progress.unlink(missing_ok=True)
        logger.removeHandler(log)
        log.close()


def _outcome(job: Job, error: BaseException, log: "_LogFile") -> dict[str, Any]:
    """Log the error that ended a job; gives the final contents of ``progress.json``."""
    if isinstance(error, GemsError):
        log.line(logging.ERROR, str(error))
        return {"state": "failed", "error": str(error)}
    if isinstance(error, Exception):
        log.line(logging.ERROR, f"{job.name}: failed", traceback=True)
        return {"state": "failed", "error": f"{type(error).__name__}: {error}"}
    log.line(logging.ERROR, f"{job.name}: stopped by a signal; run it again to resume")
    return {"state": "stopped"}


def _beat(job: Job, where: dict[str, Any], finished: threading.Event) -> None:
    while not finished.wait(BEAT_SECONDS):
        stage = Progress.current
        _write(job, where | {"state": "running"} | (stage.snapshot() if stage else {}))


def _write(job: Job, values: dict[str, Any]) -> None:
    # A full disk must not end the job.
    with suppress(GemsError), written_whole(job.progress) as temporary:
        temporary.write_text(json.dumps(values))


class _LogFile(logging.FileHandler):
    """Appends to the log of a job, flushing each line; warns once if it cannot be written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="a", encoding="utf-8", delay=True)
        self.path = path
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._broken = False

    def line(self, level: int, message: str, traceback: bool = False) -> None:
        """Write a line to this file only, not to the terminal."""
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
        message = f"Cannot write the log; the job continues without it: {sys.exception()}"
        print(message, file=sys.stderr, flush=True)
