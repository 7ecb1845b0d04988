"""Datasets of the episodes of a policy, for pretraining and for offline reinforcement learning."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gems.agents.base import Policy
from gems.collection.d4rl import D4RLWriter
from gems.collection.episodes import Player
from gems.collection.minari_writer import MinariWriter
from gems.data import dataset
from gems.envs.simulator import Simulator
from gems.errors import GemsError, unknown
from gems.runtime.files import read_json
from gems.runtime.progress import Progress

FORMATS = {"d4rl": "d4rl.npz", "minari": "minari"}
CHUNK_USERS = 1000
# Of a policy with a value for each item and user.
LARGEST_ARRAY = 20_000_000


@torch.inference_mode()
def collect(
    policy: Policy,
    simulator: Simulator,
    folder: Path,
    *,
    users: int,
    seed: int,
    name: str,
    epsilon: float = 0.0,
    meta: dict[str, Any] | None = None,
    formats: Sequence[str] = tuple(FORMATS),
) -> None:
    """Play an episode with each of ``users`` new users, and write all of them into ``folder``.

    The folder gets the slates and clicks as logged data (``gems.data.dataset``), which pretraining
    takes, and the transitions in each of ``formats``: ``d4rl.npz`` (``d4rl.D4RLWriter``), or the
    Minari dataset ``gems/NAME-v0`` under ``minari``. ``dataset.json`` comes last.
    Chunks of users have their own random streams, so collections of different sizes share all
    chunks that are whole in both. The same arguments give the same bytes.

    Args:
        policy: on the CPU; its beliefs are those of a new episode afterwards.
        simulator: the environment.
        folder: where to write; other formats of an earlier collection there are removed.
        users: number of users, of one episode each.
        seed: seed of the random streams.
        name: name of the dataset.
        epsilon: probability, for each user and turn, of an action of the random phase; otherwise
            the policy acts greedily.
        meta: more entries for ``dataset.json``, such as ``environment``.
        formats: from ``FORMATS``.

    Raises:
        GemsError: an argument is not valid, the policy has no random phase, or the folder cannot be
            written.
    """
    for kind in formats:
        if kind not in FORMATS:
            raise GemsError(unknown("format", kind, FORMATS))
    if users < 1:
        raise GemsError(f"The number of users must be positive, and not {users}.")
    _check_folder(folder)
    player = Player(policy, simulator, epsilon=epsilon, seed=seed)
    size = max(1, min(CHUNK_USERS, LARGEST_ARRAY // simulator.n_items))
    collection = {"name": name, "seed": seed, "epsilon": epsilon, "formats": sorted(formats)}
    described = {**(meta or {}), "items": simulator.n_items, "collection": collection}
    shape = users, simulator.config.turns, simulator.slate_size
    with (
        dataset.replaced(folder) as new,
        Progress(f"collecting {name}", users, "users") as progress,
    ):
        writers: list[D4RLWriter | MinariWriter] = []
        if "d4rl" in formats:
            writers.append(D4RLWriter(new, users))
        if "minari" in formats:
            writers.append(MinariWriter(new, name, policy, simulator))

        def chunks() -> Iterator[tuple[NDArray[np.signedinteger], NDArray[np.bool_]]]:
            for first in range(0, users, size):
                played = player.play(min(size, users - first), first)
                for writer in writers:
                    writer.add(first, played)
                yield played.slates[:, 1:], played.clicks[:, 1:]
                progress.advance(len(played.slates))

        dataset.write(new, shape, chunks(), described)
        for writer in writers:
            writer.finish()


def _check_folder(folder: Path) -> None:
    """Refuse a folder with a dataset that was not collected, such as logged data."""
    file = folder / "dataset.json"
    if file.is_file() and "collection" not in read_json(file):
        raise GemsError(
            f"{folder} holds a dataset that was logged or imported; choose another folder."
        )
