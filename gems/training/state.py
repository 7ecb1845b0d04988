"""Training state of an unfinished run, from which the next try goes on bit for bit."""

import time
from pathlib import Path
from typing import Any

import torch

from gems.errors import GemsError
from gems.files import written_whole

SAVE_SECONDS = 60.0
LARGEST_SHARE = 0.01


class TrainingState:
    """One file in the state folder of a job, from time to time.

    The file is found again only by a run of the same ``fingerprint``: code, configuration and
    inputs. It is read without unpickling code.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Keep the state in ``folder``."""
        self._file = folder / f"{fingerprint}.pt"
        self._saved, self._seconds = time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether it is time to save again: seldom enough to cost 1 % of the time at most."""
        interval = max(SAVE_SECONDS, self._seconds / LARGEST_SHARE)
        return time.monotonic() - self._saved > interval

    def save(self, values: dict[str, Any]) -> None:
        """Write the state whole, replacing the last one.

        Raises:
            GemsError: it cannot be written.
        """
        started = time.monotonic()
        with written_whole(self._file) as temporary, temporary.open("wb") as file:
            torch.save(values, file)
        self._saved = time.monotonic()
        self._seconds = self._saved - started

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
