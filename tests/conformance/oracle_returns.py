"""Test returns of the short-term oracle: ``python oracle_returns.py FOCUSED DIFFUSE``.

Plays the 500 users of the paper's test in all six environments, with the item embeddings of two
files (.npy, .pt or .safetensors). Prints one line an environment. With the embeddings that the
paper's authors published, the first line is the published 107.7.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gems.config import build, paper
from gems.envs import items
from gems.envs.simulator import Simulator
from gems.envs.users import SharedUsers

USERS = 500


def returns(files: dict[str, Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Environments whose embedding has a file, and the return of each test user (USERS,)."""
    config = build({"fidelity": "released"})
    for name in paper.ENVIRONMENTS:
        environment = config.environment(name)
        if environment.items.name in files:
            simulator = Simulator(items.load(files[environment.items.name]), environment)
            simulator.meet(USERS, SharedUsers())
            turns = range(simulator.config.turns)
            clicks = [simulator.step(simulator.oracle_slates()).clicks for _ in turns]
            yield name, np.sum(clicks, axis=(0, 2))


def main(focused: str, diffuse: str) -> None:
    for name, earned in returns({"focused": Path(focused), "diffuse": Path(diffuse)}):
        error = earned.std(ddof=1) / np.sqrt(len(earned))
        print(f"{name}: {earned.mean():.3f} (standard error over users {error:.3f})")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python oracle_returns.py FOCUSED DIFFUSE")
    main(*sys.argv[1:])
