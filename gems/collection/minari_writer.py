"""Episodes as a Minari dataset."""

from pathlib import Path

import minari
import numpy as np
from gymnasium.spaces import Box, MultiDiscrete, Space
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from gems.agents.base import Policy
from gems.collection.episodes import Collected
from gems.config.file_names import minari_id
from gems.envs.simulator import Simulator

NAMESPACE = "gems"


class MinariWriter:
    """Writes ``minari``, which is a root of Minari datasets (``MINARI_DATASETS_PATH``).

    Infos hold ``slates`` and ``clicks``, T + 1 each as Minari has it: first those before the first
    action, then those that each action led to; and ``explored`` (T).
    """

    def __init__(self, folder: Path, name: str, policy: Policy, simulator: Simulator) -> None:
        """Write into ``folder``."""
        self._id, self._policy, self._simulator = minari_id(name), policy, simulator
        # Minari joins the folder with paths of its files, which begin with the folder if relative.
        self._root = (folder / "minari").resolve()
        self._storage: MinariStorage | None = None

    def add(self, first: int, played: Collected) -> None:
        """Append episodes."""
        if self._storage is None:
            self._storage = self._new(played.observations.shape[-1])
        turns = played.explored.shape[1]
        never, last = np.zeros((2, turns), dtype=np.bool_)
        last[-1] = True
        # Minari's writer is fast with HDF5; with Arrow its time grows with the square of episodes.
        self._storage.update_episodes(
            EpisodeBuffer(
                observations=observations,
                actions=actions,
                rewards=rewards,
                terminations=never,
                truncations=last,
                infos={"slates": slates, "clicks": clicks, "explored": explored},
            )
            for observations, actions, slates, clicks, explored, rewards in zip(
                *played, played.rewards, strict=True
            )
        )

    def finish(self) -> None:
        """Describe the dataset, without which Minari does not load it."""
        assert self._storage is not None
        described = {"dataset_id": self._id, "minari_version": minari.__version__}
        self._storage.update_metadata(described)
        (self._root / NAMESPACE / "namespace_metadata.json").write_text("{}")

    def _new(self, observation_dim: int) -> MinariStorage:
        path = self._root / self._id / "data"
        path.mkdir(parents=True)
        observations = Box(-np.inf, np.inf, (observation_dim,), np.float32)
        return MinariStorage.new(path, observations, self._actions(), data_format="hdf5")

    def _actions(self) -> Space:
        if not self._policy.stored_dim:
            sizes = np.full(self._simulator.slate_size, self._simulator.n_items)
            return MultiDiscrete(sizes, dtype=np.int32)
        bounds = self._policy.action_bounds()
        if bounds is None:
            return Box(-np.inf, np.inf, (self._policy.stored_dim,), np.float32)
        low, high = (bound.numpy() for bound in bounds)
        return Box(low, high, dtype=np.float32)
