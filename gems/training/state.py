"""Training state of an unfinished run, from which the next try goes on bit for bit."""

import time
from pathlib import Path
from typing import Any

from gems.data.replay import Replay
from gems.weights import load_state, save_state

SAVE_SECONDS = 60.0
LARGEST_SHARE = 0.01
# Each part is copied before it is written: about 16 MB of them.
PART_EPISODES = 1000


class TrainingState:
    """The state of a run in the state folder of its job, saved from time to time.

    Episodes for replay, which are large, are written once, each time those that are new in a file
    of their own; the rest is written whole each time, and last, with the names of those files.

    The state is found again only by a run of the same ``fingerprint``: code, configuration and
    inputs. It is read without unpickling code.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Keep the state in ``folder``."""
        self._folder, self._fingerprint = folder, fingerprint
        self._file = folder / f"{fingerprint}.pt"
        self._parts: dict[str, int] = {}  # file of episodes -> number of the one after its last
        self._saved, self._seconds = time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether it is time to save again: seldom enough to cost 1 % of the time at most."""
        interval = max(SAVE_SECONDS, self._seconds / LARGEST_SHARE)
        return time.monotonic() - self._saved > interval

    def save(self, values: dict[str, Any], replay: Replay) -> None:
        """Write the state, replacing the last one only when this one is whole.

        Raises:
            GemsError: it cannot be written.
        """
        started = time.monotonic()
        parts = {name: end for name, end in self._parts.items() if end > replay.oldest}
        written = max(*self._parts.values(), replay.oldest, 0)
        for first in range(written, replay.added, PART_EPISODES):
            end = min(first + PART_EPISODES, replay.added)
            name = f"{self._fingerprint}.{end}.pt"
            save_state(self._folder / name, replay.part(first, end))
            parts[name] = end
        save_state(self._file, {**values, "replay": parts})
        self._parts = parts
        for path in self._folder.glob(f"{self._fingerprint}.*.pt"):
            if path.name not in parts:
                path.unlink()
        self._saved = time.monotonic()
        self._seconds = self._saved - started

    def load(self, replay: Replay) -> dict[str, Any] | None:
        """The last state, its episodes put into ``replay``; or None if there is none.

        Raises:
            GemsError: a file of it is damaged or missing.
        """
        if not self._file.is_file():
            return None
        values = load_state(self._file, self._file)
        self._parts = values.pop("replay")
        for name in sorted(self._parts, key=self._parts.__getitem__):
            replay.restore(load_state(self._folder / name, self._file))
        return values
