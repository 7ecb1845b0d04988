"""Replay recorded episodes through the simulator: ``python replay_traces.py FILE.npz``.

The file holds, for each ``<embedding>/<click model>`` group, users' initial embeddings, requested
slates (-1: the oracle's item) and the uniform draws of clicks, with the slates, clicks, boredom,
scores and users that must come out. Prints one line a group; exits 1 on any disagreement.
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gems.config import build
from gems.envs.items import Items
from gems.envs.simulator import Simulator

TOLERANCE = 1e-5


class Deviation(NamedTuple):
    """Largest deviations of one group."""

    group: str
    episodes: int
    wrong: int
    scores: float
    users: float

    @property
    def agrees(self) -> bool:
        return self.wrong == 0 and self.scores <= TOLERANCE and self.users <= TOLERANCE


def replay(path: str) -> Iterator[Deviation]:
    """Replay every group of the file at ``path``."""
    with np.load(path, allow_pickle=False) as data:
        groups = sorted({key.rsplit("/", 1)[0] for key in data if key.count("/") == 2})
        for group in groups:
            embedding, click_model = group.split("/")
            environment = build({"fidelity": "released"}).environment(
                f"{embedding}_{'mix' if click_model == 'mixed' else click_model}"
            )
            items = Items(data[f"{embedding}/item_embeddings"])
            simulator = Simulator(items, environment)
            prefix = group + "/"
            trace = {k.removeprefix(prefix): data[k] for k in data if k.startswith(prefix)}
            yield _replay_group(group, simulator, trace)


def _replay_group(group: str, simulator: Simulator, trace: dict[str, np.ndarray]) -> Deviation:
    first = simulator.start(trace["initial_user"], trace["initial_uniforms"])
    wrong = int((first.slates != trace["initial_slate"]).sum())
    wrong += int((first.clicks != trace["initial_clicks"]).sum())
    scores = users = 0.0
    for turn in range(trace["request"].shape[1]):
        wrong += int((simulator.users.bored != trace["bored"][:, turn]).sum())
        seen = simulator.advance(trace["request"][:, turn], trace["uniforms"][:, turn])
        wrong += int((seen.slates != trace["slate"][:, turn]).sum())
        wrong += int((seen.clicks != trace["clicks"][:, turn]).sum())
        # A maximum that keeps NaN, which must never agree.
        scores = np.maximum(scores, np.abs(simulator.scores - trace["scores"][:, turn]).max())
        users = np.maximum(users, np.abs(seen.users - trace["user_after"][:, turn]).max())
    return Deviation(group, len(trace["request"]), wrong, float(scores), float(users))


def main(path: str) -> int:
    agree, groups = True, 0
    for d in replay(path):
        agree, groups = agree and d.agrees, groups + 1
        print(
            f"{d.group}: {d.episodes} episodes, {d.wrong} wrong slates, clicks or bored flags, "
            f"scores off by at most {d.scores:.1e}, users by {d.users:.1e}: "
            + ("agrees" if d.agrees else "DISAGREES")
        )
    if not groups:
        print(f"{path} holds no recorded episode")
    return 0 if agree and groups else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python replay_traces.py FILE.npz")
    sys.exit(main(sys.argv[1]))
