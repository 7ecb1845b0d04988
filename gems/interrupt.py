"""Stopping between two steps at a signal, so that the state can be saved before the end."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = signal.SIGTERM, signal.SIGINT


class Interrupt:
    """While open, SIGTERM (a scheduler's preemption) and SIGINT only set ``asked``.

    A second signal acts at once. Outside the main thread, where Python handles no signals, it
    does nothing.
    """

    def __init__(self) -> None:
        """Not asked yet."""
        self.asked: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:  # noqa: D105
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(  # noqa: D105
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def end(self) -> None:
        """End the process with the status of the signal, if there was one."""
        if self.asked is not None:
            raise SystemExit(128 + self.asked)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
