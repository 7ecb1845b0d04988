"""Checkpoints of an unfinished run, from which the next attempt resumes bit for bit."""

import time
from pathlib import Path
from typing import Any

from gems.data.replay import Replay
from gems.runtime.weights import load_state, save_state

SAVE_SECONDS = 60.0
MAX_OVERHEAD = 0.01  # share of the time
# A part is copied before it is written: about 16 MB.
PART_EPISODES = 1000


class TrainingState:
    """The state of a run, saved to ``folder`` at intervals.

    Episodes in the replay buffer are large, so each is written once: every save adds a file with
    the new ones. The rest of the state is rewritten at every save, after the episodes and with the
    names of their files.

    Only a run with the same ``fingerprint`` (code, configuration, inputs) loads the state, without
    unpickling code.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder, self._fingerprint = folder, fingerprint
        self._file = folder / f"{fingerprint}.pt"
        self._parts: dict[str, int] = {}  # file of episodes -> number of its last episode + 1
        self._saved, self._seconds = time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether to save again; intervals keep the cost below ``MAX_OVERHEAD``."""
        interval = max(SAVE_SECONDS, self._seconds / MAX_OVERHEAD)
        return time.monotonic() - self._saved > interval

    def save(self, values: dict[str, Any], replay: Replay) -> None:
        """Write the state; the previous one stays valid until this one is complete.

        Raises:
            GemsError: a file cannot be written.
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
        """Read the last state, and add its episodes to ``replay``; None if there is no state.

        Raises:
            GemsError: a file is missing or damaged.
        """
        if not self._file.is_file():
            return None
        values = load_state(self._file, self._file)
        self._parts = values.pop("replay")
        for name in sorted(self._parts, key=self._parts.__getitem__):
            replay.restore(load_state(self._folder / name, self._file))
        return values
