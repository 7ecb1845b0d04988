"""The logging policy: a short-term oracle that shows random items now and then (Section 2)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gems.data import dataset
from gems.progress import Progress
from gems.randomness import stream
from gems.sections import LoggingConfig
from gems.selection import distinct_items
from gems.simulator.items import Integers, item_dtype
from gems.simulator.kernels import SLATE_SIZE
from gems.simulator.simulator import Simulator

CHUNK_USERS = 1000


def logged_requests(rng: np.random.Generator, n: int, n_items: int, epsilon: float) -> Integers:
    """Slates (n, slate size) in which a slot is a random item with ``epsilon``, else -1.

    The random items of a slate are distinct among themselves; -1 asks for the oracle's item.
    """
    random = rng.random((n, SLATE_SIZE), dtype=np.float32) < epsilon
    items = distinct_items(rng.random((n, SLATE_SIZE)), n_items)
    return np.where(random, items, -1)


def log_users(simulator: Simulator, config: LoggingConfig, environment: str, folder: Path) -> None:
    """Simulate the logged users of one environment and write them as a dataset.

    Users are drawn in chunks, each from its own stream, so the first n users of a larger dataset
    are those of a smaller one up to a multiple of the chunk.

    Raises:
        GemsError: the folder cannot be written.
    """
    n_items = len(simulator.items.embeddings)
    turns = simulator.config.turns

    def chunks() -> Iterator[tuple[NDArray[np.signedinteger], NDArray[np.bool_]]]:
        for start in range(0, config.users, CHUNK_USERS):
            rng = stream(config.seed, "logging", environment, start)
            n = min(CHUNK_USERS, config.users - start)
            slates = np.empty((n, turns, SLATE_SIZE), dtype=item_dtype(n_items))
            clicks = np.empty((n, turns, SLATE_SIZE), dtype=np.bool_)
            simulator.reset(n, rng)
            for turn in range(turns):
                seen = simulator.step(logged_requests(rng, n, n_items, config.epsilon))
                slates[:, turn], clicks[:, turn] = seen.slates, seen.clicks
            yield slates, clicks
            progress.advance(n)

    meta = {"environment": environment, "items": n_items, "logging": config.model_dump()}
    with Progress(f"logging {environment}", config.users, "users") as progress:
        dataset.write(folder, config.users, turns, chunks(), meta)
