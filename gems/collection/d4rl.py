"""Transitions as arrays with the keys of D4RL, in one .npz file."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gems.collection.episodes import Collected
from gems.data.dataset import write_header

BUFFER_BYTES = 1 << 22


class D4RLWriter:
    """Writes ``d4rl.npz``, one row for each transition, by episode and turn.

    Arrays: ``observations``, ``actions``, ``rewards``, ``next_observations``, ``terminals`` (never:
    an episode has a fixed number of turns), ``timeouts`` (the last turn), ``slates`` and ``clicks``
    (those that the action led to), ``explored``, ``episodes`` and ``turns``, both from 0.
    """

    def __init__(self, folder: Path, episodes: int) -> None:
        """Write into ``folder``; the arrays lie in a folder of their own until ``finish``."""
        self._file, self._episodes = folder / "d4rl.npz", episodes
        self._folder = folder / "d4rl"
        self._folder.mkdir()
        self._parts: dict[str, Path] = {}

    def add(self, first: int, played: Collected) -> None:
        """Append the episodes ``first`` and following."""
        for name, array in _transitions(first, played).items():
            if name not in self._parts:
                self._parts[name] = self._folder / f"{name}.npy"
                shape = self._episodes * array.shape[1], *array.shape[2:]
                with self._parts[name].open("wb") as file:
                    write_header(file, array.dtype, shape)
            with self._parts[name].open("ab") as file:
                file.write(np.ascontiguousarray(array).data)

    def finish(self) -> None:
        """Move the arrays into the .npz file, which depends on nothing but their contents."""
        with zipfile.ZipFile(self._file, "w") as archive:
            for path in self._parts.values():
                entry = zipfile.ZipInfo(path.name)  # dated 1980
                with path.open("rb") as part, archive.open(entry, "w", force_zip64=True) as member:
                    shutil.copyfileobj(part, member, BUFFER_BYTES)
                path.unlink()
        self._folder.rmdir()


def _transitions(first: int, played: Collected) -> dict[str, NDArray[Any]]:
    """Arrays (n, T, ...) by name."""
    shape = played.explored.shape
    timeouts = np.zeros(shape, dtype=np.bool_)
    timeouts[:, -1] = True
    numbers = np.indices(shape, dtype=np.int32)
    return {
        "observations": played.observations[:, :-1],
        "actions": played.actions,
        "rewards": played.rewards,
        "next_observations": played.observations[:, 1:],
        "terminals": np.zeros(shape, dtype=np.bool_),
        "timeouts": timeouts,
        "slates": played.slates[:, 1:],
        "clicks": played.clicks[:, 1:],
        "explored": played.explored,
        "episodes": first + numbers[0],
        "turns": numbers[1],
    }
