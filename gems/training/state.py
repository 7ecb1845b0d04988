"""Training state of an unfinished run, from which the next try goes on bit for bit."""

import contextlib
from pathlib import Path
from typing import Any

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
