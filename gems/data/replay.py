"""Episodes in memory: what a rollout records and what a learner samples."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gems.errors import GemsError
from gems.simulator.items import item_dtype
from gems.simulator.kernels import DIM, SLATE_SIZE, TOPICS


class Episodes(NamedTuple):
    """n whole episodes of T turns; entry 0 of observations is the first slate, shown by nobody.

    Attributes:
        slates: (n, T + 1, slate size) of ``items.item_dtype``.
        clicks: (n, T + 1, slate size) bool.
        actions: (n, T, D) float32; no columns for learners that need slates only.
        users: (n, T + 1, 20) float32 tastes; no columns unless the learner is disclosed them.
        bored: (n, T + 1, topics) bool; likewise.
    """

    slates: NDArray[np.signedinteger]
    clicks: NDArray[np.bool_]
    actions: NDArray[np.float32]
    users: NDArray[np.float32]
    bored: NDArray[np.bool_]

    @classmethod
    def empty(
        cls, n: int, turns: int, action_dim: int, disclosed: bool, n_items: int
    ) -> "Episodes":
        """Room for ``n`` episodes with ``n_items`` items."""
        return cls(
            np.zeros((n, turns + 1, SLATE_SIZE), dtype=item_dtype(n_items)),
            np.zeros((n, turns + 1, SLATE_SIZE), dtype=np.bool_),
            np.zeros((n, turns, action_dim), dtype=np.float32),
            np.zeros((n, turns + 1, DIM if disclosed else 0), dtype=np.float32),
            np.zeros((n, turns + 1, TOPICS if disclosed else 0), dtype=np.bool_),
        )

    def pick(self, index: slice | NDArray[np.int64]) -> "Episodes":
        """The episodes at ``index``."""
        return Episodes._make(part[index] for part in self)

    @property
    def returns(self) -> NDArray[np.int64]:
        """Sum of rewards of each episode, (n,)."""
        return self.clicks[:, 1:].sum(axis=(1, 2))


class Batch(NamedTuple):
    """Episodes as tensors on the learner's device, shaped as in ``Episodes``."""

    slates: Tensor
    clicks: Tensor
    actions: Tensor
    users: Tensor
    bored: Tensor

    @classmethod
    def of(cls, episodes: Episodes, device: torch.device) -> "Batch":
        """Copy ``episodes`` to ``device``: slates int64, clicks float32."""
        slates, clicks, *rest = (torch.from_numpy(part).to(device) for part in episodes)
        return cls(slates.long(), clicks.float(), *rest)

    @property
    def rewards(self) -> Tensor:
        """Clicks of each turn, (n, T)."""
        return self.clicks[:, 1:].sum(-1)


class Replay:
    """The last episodes, sampled uniformly as whole episodes."""

    def __init__(
        self, capacity: int, turns: int, action_dim: int, disclosed: bool, n_items: int
    ) -> None:
        """Room for ``capacity`` episodes; memory is taken as they come."""
        self._store = Episodes.empty(capacity, turns, action_dim, disclosed, n_items)
        self.capacity = capacity
        self.added = 0

    def __len__(self) -> int:
        """Number of episodes held."""
        return min(self.added, self.capacity)

    def add(self, episodes: Episodes) -> None:
        """Add episodes, overwriting the oldest."""
        n = len(episodes.slates)
        index = np.arange(self.added, self.added + n) % self.capacity
        stores: tuple[NDArray, ...] = self._store
        for store, new in zip(stores, episodes, strict=True):
            store[index] = new
        self.added += n

    def sample(self, n: int, rng: np.random.Generator, distinct: bool) -> Episodes:
        """Draw ``n`` episodes: with replacement, or different ones, all if there are fewer."""
        if distinct:
            index = rng.choice(len(self), min(n, len(self)), replace=False)
        else:
            index = rng.integers(0, len(self), n)
        return self._store.pick(index)

    @property
    def oldest(self) -> int:
        """Number of the oldest episode that is held, counted from the first that was added."""
        return max(0, self.added - self.capacity)

    def part(self, first: int, end: int) -> dict[str, Tensor]:
        """The episodes from number ``first`` to before ``end``, and that end, for a state."""
        index = np.arange(first, end) % self.capacity
        parts: dict[str, NDArray] = self._store._asdict()
        new = {name: torch.from_numpy(part[index]) for name, part in parts.items()}
        return {**new, "end": torch.tensor(end)}

    def restore(self, part: dict[str, Tensor]) -> None:
        """Take back what ``part`` gave; parts are restored in their order.

        Raises:
            GemsError: the episodes are of another shape.
        """
        episodes = Episodes._make(part[name].numpy() for name in Episodes._fields)
        pairs: Iterable[tuple[NDArray, NDArray]] = zip(self._store, episodes, strict=True)
        if any(store.shape[1:] != new.shape[1:] for store, new in pairs):
            raise GemsError("The saved replay holds episodes of another shape.")
        self.added = int(part["end"]) - len(episodes.slates)
        self.add(episodes)
