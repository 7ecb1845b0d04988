"""Episodes in memory, and the replay buffer that learners sample from."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gems.envs.items import item_dtype
from gems.envs.simulator import Sizes
from gems.errors import GemsError


class Episodes(NamedTuple):
    """n whole episodes of T turns.

    Entry t of slates, clicks, users and bored is observation t. Observation 0 is the simulator's
    first slate; action t leads to observation t + 1.

    Attributes:
        slates: (n, T + 1, slate size) of ``items.item_dtype``.
        clicks: (n, T + 1, slate size) bool.
        actions: (n, T, D) float32, with D = ``Policy.stored_dim``.
        users: (n, T + 1, dim) float32, users' embeddings; dim is 0 unless ``Policy.disclosed``.
        bored: (n, T + 1, topics) bool, topics bored in the coming turn; likewise.
    """

    slates: NDArray[np.signedinteger]
    clicks: NDArray[np.bool_]
    actions: NDArray[np.float32]
    users: NDArray[np.float32]
    bored: NDArray[np.bool_]

    @classmethod
    def empty(
        cls, n: int, turns: int, action_dim: int, disclosed: bool, sizes: Sizes
    ) -> "Episodes":
        """Arrays of zeros for ``n`` episodes in an environment of these sizes."""
        seen = n, turns + 1
        return cls(
            np.zeros((*seen, sizes.slate_size), dtype=item_dtype(sizes.n_items)),
            np.zeros((*seen, sizes.slate_size), dtype=np.bool_),
            np.zeros((n, turns, action_dim), dtype=np.float32),
            np.zeros((*seen, sizes.dim if disclosed else 0), dtype=np.float32),
            np.zeros((*seen, sizes.topics if disclosed else 0), dtype=np.bool_),
        )

    def pick(self, index: slice | NDArray[np.int64]) -> "Episodes":
        return Episodes._make(part[index] for part in self)

    @property
    def returns(self) -> NDArray[np.int64]:
        """Undiscounted returns, (n,)."""
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
        """Number of clicks that each action led to, (n, T)."""
        return self.clicks[:, 1:].sum(-1)


class Replay:
    """The last ``capacity`` episodes, sampled uniformly as whole episodes."""

    def __init__(
        self, capacity: int, turns: int, action_dim: int, disclosed: bool, sizes: Sizes
    ) -> None:
        self._store = Episodes.empty(capacity, turns, action_dim, disclosed, sizes)
        self.capacity = capacity
        self.added = 0

    def __len__(self) -> int:
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
        """Sample ``n`` episodes: with replacement, or ``distinct`` ones, all if there are fewer."""
        if distinct:
            index = rng.choice(len(self), min(n, len(self)), replace=False)
        else:
            index = rng.integers(0, len(self), n)
        return self._store.pick(index)

    @property
    def oldest(self) -> int:
        """Number of the oldest stored episode; episodes are numbered in order of ``add``."""
        return max(0, self.added - self.capacity)

    def part(self, first: int, end: int) -> dict[str, Tensor]:
        """Episodes ``first`` to ``end`` - 1 for the training state, with ``end``."""
        index = np.arange(first, end) % self.capacity
        parts: dict[str, NDArray] = self._store._asdict()
        new = {name: torch.from_numpy(part[index]) for name, part in parts.items()}
        return {**new, "end": torch.tensor(end)}

    def restore(self, part: dict[str, Tensor]) -> None:
        """Add the episodes of ``part``; parts must be restored in order.

        Raises:
            GemsError: the episodes have another shape.
        """
        episodes = Episodes._make(part[name].numpy() for name in Episodes._fields)
        pairs: Iterable[tuple[NDArray, NDArray]] = zip(self._store, episodes, strict=True)
        if any(store.shape[1:] != new.shape[1:] for store, new in pairs):
            raise GemsError("The saved replay buffer holds episodes of another shape.")
        self.added = int(part["end"]) - len(episodes.slates)
        self.add(episodes)
