"""Experiment tracking with SwanLab, which can neither stop nor slow down a run.

Calls that may block (network, slow disk) run in a background thread, which reads metrics from a
queue. At its end, a run waits for the thread for at most ``CLOSE_SECONDS``.
"""

import contextlib
import io
import json
import logging
import shutil
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

CLOSE_SECONDS = 30.0

logger = logging.getLogger("gems")


class Tracker:
    """Tracks one run; a failure logs one warning and ends the tracking, not the run."""

    def __init__(
        self,
        options: dict[str, Any],
        name: str,
        tags: list[str],
        config: dict[str, Any],
        state: Path | None = None,
    ) -> None:
        """Open the run ``name`` in the background.

        ``options`` is the section ``tracking``, ``config`` the options of the run. With the folder
        ``state``, the next attempt at a killed job resumes the same tracked run.
        """
        self._options = options
        self._note = state / "tracking.json" if state else None
        # Locks used as flags that can be set once: the tracking has ended; a warning was logged.
        self._ended, self._warned = threading.Lock(), threading.Lock()
        self._queue: SimpleQueue[tuple[dict[str, float], int] | tuple[str, str | None]] = (
            SimpleQueue()
        )
        if options["mode"] == "disabled":
            self._ended.acquire()
            return
        self._thread = threading.Thread(target=self._work, args=(name, tags, config), daemon=True)
        self._thread.start()

    def log(self, values: dict[str, float], step: int) -> None:
        """Track the metrics of one step; returns at once."""
        if not self._ended.locked():
            self._queue.put((values, step))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """End the tracked run, as crashed after an error."""
        if not self._ended.locked():
            self._queue.put(("crashed" if kind else "success", str(error) if kind else None))
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                self._end(f"not finished {CLOSE_SECONDS:.0f} s after the run")
        if self._note and not kind:
            self._note.unlink(missing_ok=True)

    def _work(self, name: str, tags: list[str], config: dict[str, Any]) -> None:
        try:
            run = self._open(name, tags, config)
            while True:
                match self._queue.get():
                    case (dict() as values, int() as step):
                        run.log(values, step=step)
                    case (str() as outcome, error):
                        run.finish(outcome, error)
                        break
            self._end(None)
        # SwanLab's dashboard stops a run with a KeyboardInterrupt.
        except (Exception, KeyboardInterrupt) as error:
            self._end(" ".join(str(error).split()) or type(error).__name__)
        finally:
            logging.getLogger("swanlab.internal").removeFilter(self._listen)

    def _open(self, name: str, tags: list[str], config: dict[str, Any]) -> Any:
        options = self._options
        Path(options["folder"]).mkdir(parents=True, exist_ok=True)
        import swanlab

        _silence()
        logging.getLogger("swanlab.internal").addFilter(self._listen)
        same = {"mode": options["mode"], "described": json.dumps(config, sort_keys=True)}
        earlier = self._earlier(same)
        run = swanlab.init(
            project=options["project"],
            workspace=options["workspace"],
            name=name,
            description=options["description"] or None,
            tags=tags,
            config=config,
            log_dir=options["folder"],
            mode={"cloud": "online"}.get(options["mode"], options["mode"]),
            id=earlier.get("id"),
            resume="allow" if earlier else None,
            # No prompt for a key, no capture of the output, no slow probes of the machine: the run
            # has its own log, benchmark and provenance.
            settings=swanlab.Settings(
                interactive=False,
                terminal=swanlab.Settings.Terminal(proxy_type="none"),
                probe=swanlab.Settings.Probe(requirements=False, git=False, monitor=False),
            ),
        )
        if earlier and options["mode"] == "offline":
            # The resumed run logs all its metrics again; drop the earlier record of them.
            shutil.rmtree(earlier["folder"], ignore_errors=True)
        if self._note:
            self._note.parent.mkdir(parents=True, exist_ok=True)
            note = {"id": run.id, "folder": str(run.dir.resolve())}
            self._note.write_text(json.dumps(note | same))
        return run

    def _earlier(self, same: dict[str, str]) -> dict[str, str]:
        """Id and folder of the run that a killed attempt tracked with the ``same`` options."""
        note: dict[str, str] = {}
        if self._note:
            with contextlib.suppress(OSError, ValueError):
                note = json.loads(self._note.read_text())
        return note if note.items() >= same.items() else {}

    def _listen(self, record: logging.LogRecord) -> bool:
        """Warn about an error that SwanLab only logs; a filter that drops every record."""
        if record.levelno >= logging.ERROR:
            self._warn(record.getMessage().splitlines()[-1].split(" - ")[-1])
        return False

    def _end(self, problem: str | None) -> None:
        self._ended.acquire(blocking=False)
        if problem is not None:
            self._warn(problem)

    def _warn(self, problem: str) -> None:
        if self._warned.acquire(blocking=False):
            logger.warning("Tracking failed; the run continues without it: %s", problem)


def _silence() -> None:
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    with contextlib.suppress(ImportError, AttributeError):
        from swanlab.sdk.internal.pkg import console

        console.c.file = io.StringIO()
        console.c.quiet = True
