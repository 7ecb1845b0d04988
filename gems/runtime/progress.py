"""Progress of a task: a bar on a terminal, lines in logs, a snapshot for `gems status`."""

import logging
import sys
import time
from collections import deque
from typing import Any, Self

from tqdm import tqdm

LINE_SECONDS = 30.0
# Speed is measured over the last two minutes: the random phase is faster than the rest.
MARK_SECONDS, MARKS = 5.0, 24

logger = logging.getLogger("gems")


class Progress:
    """Progress of one task, with its latest metrics.

    Lines go to the logger ``gems``: the first, the last, and at most one each ``LINE_SECONDS``.

    Args:
        stage: short description of the task.
        total: number of steps, None if unknown.
        unit: name of a step, plural.
        done: steps that earlier attempts have done.
    """

    current: "Progress | None" = None  # of the running task; the heartbeat reads it

    def __init__(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        self._stage, self._unit, self._total, self._done = stage, unit, total, done
        self._figures: dict[str, float] = {}
        self._printed = time.monotonic()
        self._marks = deque([(self._printed, done)], maxlen=MARKS)
        self._bar = (
            tqdm(total=total, initial=done, desc=stage, unit=f" {unit}", dynamic_ncols=True)
            if sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> Self:
        Progress.current = self
        logger.info("%s: starts at %s", self._stage, self._count())
        return self

    def __exit__(self, *_: object) -> None:
        Progress.current = None
        if self._bar is not None:
            self._bar.close()
        self._line()

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Count ``steps`` more, and update the metrics shown."""
        self._done += steps
        self._figures |= figures
        if self._bar is not None:
            self._bar.update(steps)
            self._bar.set_postfix_str(_shown(self._figures), refresh=False)
        now = time.monotonic()
        if now - self._marks[-1][0] > MARK_SECONDS:
            self._marks.append((now, self._done))
        if now - self._printed > LINE_SECONDS:
            self._line()

    def snapshot(self) -> dict[str, Any]:
        """Stage, steps ``done`` of ``total``, ``unit``, ``seconds_left`` if known, ``figures``."""
        return {
            "stage": self._stage,
            "done": self._done,
            "total": self._total,
            "unit": self._unit,
            "seconds_left": self._seconds_left(),
            "figures": dict(self._figures),
        }

    def _speed(self) -> float:
        since, done = self._marks[0]
        seconds = time.monotonic() - since
        return (self._done - done) / seconds if seconds > 0 else 0.0

    def _seconds_left(self) -> float | None:
        speed = self._speed()
        return None if self._total is None or speed <= 0 else (self._total - self._done) / speed

    def _count(self) -> str:
        total = "" if self._total is None else f"/{self._total}"
        return f"{self._done}{total} {self._unit}"

    def _line(self) -> None:
        self._printed = time.monotonic()
        parts = [self._count(), f"{self._speed():.3g} {self._unit} a second"]
        left = self._seconds_left()
        if left is not None:
            parts.append(f"{duration(left)} left")
        if self._figures:
            parts.append(_shown(self._figures))
        logger.info("%s: %s", self._stage, ", ".join(parts))


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds: ``1:02:03``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"


def _shown(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
