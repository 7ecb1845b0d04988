"""Episodes of a policy with simulated users, in training, validation and test."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gems import kernels
from gems.agents.base import Mode, Policy
from gems.data.replay import Episodes
from gems.envs.simulator import Observation, Simulator
from gems.envs.users import SeededUsers, UserSource
from gems.runtime.randomness import stream, torch_stream


@torch.inference_mode()
def rollout(
    policy: Policy,
    simulator: Simulator,
    n: int,
    mode: Mode,
    seed: int,
    *purpose: str | int,
    users: UserSource | None = None,
) -> Episodes:
    """Play one episode with each of ``n`` new users.

    Args:
        policy: chooses the slates; on the CPU.
        simulator: the environment.
        n: number of users.
        mode: argument of ``Policy.act``.
        seed: seed of the random streams.
        purpose: name of the random streams.
        users: source of the users; by default the stream of ``seed`` and ``purpose``.
    """
    turns = simulator.config.turns
    episodes = Episodes.empty(n, turns, policy.stored_dim, policy.disclosed, simulator.sizes)
    seen = simulator.meet(n, users or SeededUsers(stream(seed, "users", *purpose)))
    draws = policy.draws(mode, turns, n, torch_stream(seed, "policy", *purpose))
    alone = n == 1 and mode == "explore" and simulator.compiled
    arrays = kernels.twin_of(policy) if alone else None
    if arrays is not None:
        _play_compiled(arrays, draws[:, 0], simulator, seen, episodes)
        return episodes
    policy.begin(n)
    for turn in range(turns + 1):
        episodes.slates[:, turn], episodes.clicks[:, turn] = seen.slates, seen.clicks
        if policy.disclosed:
            episodes.users[:, turn], episodes.bored[:, turn] = seen.users, seen.bored
        if turn < turns:
            decision = policy.act(seen, mode, draws[turn])
            if decision.actions is not None:
                episodes.actions[:, turn] = decision.actions.numpy()
            slates = decision.slates.numpy()
            if not policy.disclosed and slates.min() < 0:
                raise ValueError("slates hold -1, which only disclosed policies may use")
            seen = simulator.step(slates)
    return episodes


def _play_compiled(
    arrays: Any, draws: Tensor, simulator: Simulator, seen: Observation, episodes: Episodes
) -> None:
    """Play an episode of one user with compiled code, into ``episodes``."""
    from gems.kernels.episodes import play_episode

    slates = np.zeros(episodes.slates.shape[1:], dtype=np.int64)
    clicks, actions, users, bored = (
        part[0] for part in (episodes.clicks, episodes.actions, episodes.users, episodes.bored)
    )
    slates[0], clicks[0] = seen.slates[0], seen.clicks[0]
    if users.size:
        users[0], bored[0] = seen.users[0], seen.bored[0]
    uniforms = simulator.draw(len(draws))[:, 0]
    play_episode(
        arrays,
        draws.numpy(),
        simulator.users,
        simulator.catalogue,
        simulator.model,
        uniforms,
        slates,
        clicks,
        actions,
        users,
        bored,
    )
    episodes.slates[0] = slates
