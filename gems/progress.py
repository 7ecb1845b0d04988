"""Progress: one bar on a terminal, plain flushed lines in a file."""

import contextlib
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

LINE_SECONDS = 30.0


class Progress:
    """Progress of one stage, with figures beside it; shown on standard error.

    Args:
        stage: what is being done, in a few words.
        total: number of steps, None if unknown.
        unit: name of a step, plural.
        done: steps that an earlier try has done already.
    """

    def __init__(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:  # noqa: D107
        self._stage, self._unit, self._total = stage, unit, total
        self._done = self._first = done
        self._figures = ""
        self._started = self._printed = time.monotonic()
        self._bar = (
            tqdm(total=total, initial=done, desc=stage, unit=f" {unit}", dynamic_ncols=True)
            if sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> Self:  # noqa: D105
        return self

    def __exit__(  # noqa: D105
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        else:
            self._line()

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Count ``steps`` more; ``figures`` replace those shown."""
        self._done += steps
        if figures:
            self._figures = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        if self._bar is not None:
            self._bar.update(steps)
            self._bar.set_postfix_str(self._figures, refresh=False)
        elif time.monotonic() - self._printed > LINE_SECONDS:
            self._line()

    def _line(self) -> None:
        self._printed = time.monotonic()
        seconds = self._printed - self._started
        speed = (self._done - self._first) / seconds if seconds > 0 else 0.0
        parts = [f"{self._stage}: {self._done} {self._unit}", f"{speed:.3g} a second"]
        if self._total is not None and speed > 0:
            parts[0] = f"{self._stage}: {self._done}/{self._total} {self._unit}"
            parts.append(f"{(self._total - self._done) / speed:.0f} s left")
        if self._figures:
            parts.append(self._figures)
        with contextlib.suppress(OSError):  # a full disk must not stop the work by its log
            print(", ".join(parts), file=sys.stderr, flush=True)
