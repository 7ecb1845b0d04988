"""Deferred handling of signals, so that a job can save its state before it exits."""

import signal
import threading
from types import FrameType
from typing import Any, Self

SIGNALS = signal.SIGTERM, signal.SIGINT


class Interrupt:
    """While open, the first SIGTERM (preemption by a scheduler) or SIGINT only sets ``received``.

    A second signal acts at once. Outside the main thread, where Python cannot handle signals, this
    does nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def end(self) -> None:
        """Exit with the status of the signal, if one was received."""
        if self.received is not None:
            raise SystemExit(128 + self.received)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
