"""Experiment tracking: SwanLab behind a small interface that can neither stop nor slow a run.

All that may wait (a network, a slow disk) happens in a thread of its own, which takes figures from
a queue; what the run waits for at most, at its end, is ``CLOSE_SECONDS``.
"""

import contextlib
import io
import json
import logging
import shutil
import threading
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from gems.config import flat
from gems.digest import value_digest
from gems.sections import TrackingConfig

CLOSE_SECONDS = 30.0

logger = logging.getLogger("gems")


class Tracker:
    """Tracks one run; a failure warns once and ends the tracking, not the run."""

    def __init__(
        self,
        config: TrackingConfig,
        name: str,
        tags: list[str],
        described: dict[str, Any],
        state: Path | None = None,
    ) -> None:
        """Open the run ``name`` in the background.

        Args:
            config: where figures go.
            name: name of the run.
            tags: its tags.
            described: its resolved configuration.
            state: folder that outlives a killed job; the next try takes up the same tracked run.
        """
        self._config = config
        self._note = state / "tracking.json" if state else None
        # Each is taken once: when the tracking is over, and when a problem has been told.
        self._ended, self._told = threading.Lock(), threading.Lock()
        self._todo: SimpleQueue[tuple[dict[str, float], int] | tuple[str, str | None]] = (
            SimpleQueue()
        )
        if config.mode == "disabled":
            self._ended.acquire()
            return
        self._thread = threading.Thread(
            target=self._work, args=(name, tags, described), daemon=True
        )
        self._thread.start()

    def log(self, values: dict[str, float], step: int) -> None:
        """Track figures of one step; returns at once."""
        if not self._ended.locked():
            self._todo.put((values, step))

    def __enter__(self) -> Self:  # noqa: D105
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the tracked run, as crashed if an error ends it, and wait for it a little."""
        if not self._ended.locked():
            self._todo.put(("crashed" if kind else "success", str(error) if kind else None))
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                self._end(f"it was not done {CLOSE_SECONDS:.0f} s after the run")
        if self._note and not kind:
            self._note.unlink(missing_ok=True)

    def _work(self, name: str, tags: list[str], described: dict[str, Any]) -> None:
        try:
            run = self._open(name, tags, described)
            while True:
                match self._todo.get():
                    case (dict() as values, int() as step):
                        run.log(values, step=step)
                    case (str() as outcome, error):
                        run.finish(outcome, error)
                        break
            self._end(None)
        # SwanLab's dashboard stops a run by KeyboardInterrupt.
        except (Exception, KeyboardInterrupt) as error:
            self._end(" ".join(str(error).split()) or type(error).__name__)
        finally:
            logging.getLogger("swanlab.internal").removeFilter(self._listen)

    def _open(self, name: str, tags: list[str], described: dict[str, Any]) -> Any:
        config = self._config
        Path(config.folder).mkdir(parents=True, exist_ok=True)
        import swanlab

        _silence()
        logging.getLogger("swanlab.internal").addFilter(self._listen)
        same = {"mode": config.mode, "described": value_digest(described)}
        earlier = self._earlier(same)
        run = swanlab.init(
            project=config.project,
            workspace=config.workspace,
            name=name,
            description=config.description or None,
            tags=tags,
            config=flat(described),
            log_dir=config.folder,
            mode={"cloud": "online"}.get(config.mode, config.mode),
            id=earlier.get("id"),
            resume="allow" if earlier else None,
            # Asks nobody for a key; takes no output of the job; reads no more of the machine than
            # is quick: the run has its own log, benchmark and provenance.
            settings=swanlab.Settings(
                interactive=False,
                terminal=swanlab.Settings.Terminal(proxy_type="none"),
                probe=swanlab.Settings.Probe(requirements=False, git=False, monitor=False),
            ),
        )
        if earlier and config.mode == "offline":
            # The resumed run tracks all its figures again, so one record holds each once.
            shutil.rmtree(earlier["folder"], ignore_errors=True)
        if self._note:
            self._note.parent.mkdir(parents=True, exist_ok=True)
            note = {"id": run.id, "folder": str(run.dir.resolve())}
            self._note.write_text(json.dumps(note | same))
        return run

    def _earlier(self, same: dict[str, str]) -> dict[str, str]:
        """Identity and folder of the tracked run of a killed try of the ``same``, if any."""
        note: dict[str, str] = {}
        if self._note:
            with contextlib.suppress(OSError, ValueError):
                note = json.loads(self._note.read_text())
        return note if note.items() >= same.items() else {}

    def _listen(self, record: logging.LogRecord) -> bool:
        """Tell of an error that SwanLab only writes to its own log; keep that empty."""
        if record.levelno >= logging.ERROR:
            self._warn(record.getMessage().splitlines()[-1].split(" - ")[-1])
        return False

    def _end(self, problem: str | None) -> None:
        """Take no more figures; tell the ``problem``."""
        self._ended.acquire(blocking=False)
        if problem is not None:
            self._warn(problem)

    def _warn(self, problem: str) -> None:
        if self._told.acquire(blocking=False):
            logger.warning("Tracking fails, the run goes on: %s", problem)


def _silence() -> None:
    """Keep SwanLab's messages off both outputs."""
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    with contextlib.suppress(ImportError, AttributeError):
        from swanlab.sdk.internal.pkg import console

        console.c.file = io.StringIO()
        console.c.quiet = True
