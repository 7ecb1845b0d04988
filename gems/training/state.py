"""Training state of an unfinished run, from which the next try goes on bit for bit."""

import contextlib
import signal
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import torch

from gems.errors import GemsError
from gems.files import written_whole

SAVE_SECONDS = 60.0


class TrainingState:
    """One file, which is removed when the run is done.

    The file is found again only by a run of the same ``fingerprint``: code, configuration and
    inputs. It is read without unpickling code.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Keep the state in ``folder``."""
        self._folder = folder
        self._file = folder / f"{fingerprint}.pt"

    def save(self, values: dict[str, Any]) -> None:
        """Write the state whole, replacing the last one."""
        with written_whole(self._file) as temporary:
            torch.save(values, temporary)

    def load(self) -> dict[str, Any] | None:
        """The last state, or None if there is none.

        Raises:
            GemsError: the file is damaged.
        """
        if not self._file.is_file():
            return None
        try:
            return torch.load(self._file, map_location="cpu", weights_only=True)
        except Exception as error:
            raise GemsError(
                f"The training state {self._file} is damaged; remove it to start again."
            ) from error

    def remove(self) -> None:
        """The run is done: forget its state."""
        self._file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()


class Terminated(SystemExit):
    """The end of a job that a scheduler has told to end; its exit status is a shell's."""

    def __init__(self) -> None:
        """Exit status 143: 128 and the number of SIGTERM."""
        super().__init__(128 + signal.SIGTERM)


class Termination:
    """Defers SIGTERM, which a scheduler sends some seconds before it kills a job.

    Inside the context the signal is only noted, so that the job can end where its state can be
    saved.
    """

    def __init__(self) -> None:
        """No signal has come yet."""
        self._requested = False

    def __enter__(self) -> Self:  # noqa: D105
        self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(  # noqa: D105
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._requested = True

    def check(self) -> None:
        """To be called where the state can be saved.

        Raises:
            Terminated: the signal has come.
        """
        if self._requested:
            raise Terminated
