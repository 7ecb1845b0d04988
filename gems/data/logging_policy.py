"""The logging policy: an epsilon-greedy short-term oracle (Section 2)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gems.data import dataset
from gems.envs.items import Integers, item_dtype
from gems.envs.simulator import Simulator
from gems.runtime.progress import Progress
from gems.runtime.randomness import distinct_items, stream
from gems.sections import LoggingConfig

CHUNK_USERS = 1000


def logged_requests(
    rng: np.random.Generator, shape: tuple[int, int], n_items: int, epsilon: float
) -> Integers:
    """Slates (n, slate size) with a random item in a slot with probability ``epsilon``, else -1.

    The random items of a slate are distinct. The simulator replaces -1 by the oracle's item.
    """
    random = rng.random(shape, dtype=np.float32) < epsilon
    return np.where(random, distinct_items(rng.random(shape), n_items), -1)


def log_users(simulator: Simulator, config: LoggingConfig, environment: str, folder: Path) -> None:
    """Simulate the logged users of an environment and write them as a dataset.

    Each chunk of users has its own random stream, so datasets of different sizes share all chunks
    that are whole in both.

    Raises:
        GemsError: the folder cannot be written.
    """
    n_items, size, turns = simulator.n_items, simulator.slate_size, simulator.config.turns

    def chunks() -> Iterator[tuple[NDArray[np.signedinteger], NDArray[np.bool_]]]:
        for start in range(0, config.users, CHUNK_USERS):
            rng = stream(config.seed, "logging", environment, start)
            n = min(CHUNK_USERS, config.users - start)
            slates = np.empty((n, turns, size), dtype=item_dtype(n_items))
            clicks = np.empty((n, turns, size), dtype=np.bool_)
            simulator.reset(n, rng)
            for turn in range(turns):
                seen = simulator.step(logged_requests(rng, (n, size), n_items, config.epsilon))
                slates[:, turn], clicks[:, turn] = seen.slates, seen.clicks
            yield slates, clicks
            progress.advance(n)

    meta = {"environment": environment, "items": n_items, "logging": config.model_dump()}
    with Progress(f"logging {environment}", config.users, "users") as progress:
        dataset.write(folder, (config.users, turns, size), chunks(), meta)
