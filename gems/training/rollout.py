"""Episodes of a policy with simulated users: collection, validation and test alike."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gems.agents.acting import play_episode
from gems.agents.base import Mode, Policy
from gems.data.replay import Episodes
from gems.randomness import stream, torch_stream
from gems.simulator.simulator import Observation, Simulator
from gems.simulator.users import SeededUsers, UserSource


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
    """Play one episode with each of ``n`` fresh users.

    Args:
        policy: chooses the slates; on the CPU.
        simulator: the environment.
        n: number of users.
        mode: how the policy acts.
        seed: seed of the run.
        purpose: name of the random streams.
        users: where users come from; by default the stream of ``seed`` and ``purpose``.
    """
    generator = torch_stream(seed, "policy", *purpose)
    turns = simulator.config.turns
    n_items = len(simulator.items.embeddings)
    episodes = Episodes.empty(n, turns, policy.stored_dim, policy.disclosed, n_items)
    seen = simulator.meet(n, users or SeededUsers(stream(seed, "users", *purpose)))
    compiled = policy.compiled(turns, generator) if n == 1 and mode == "explore" else None
    if compiled is not None:
        _play_one(*compiled, simulator, seen, episodes)
        return episodes
    policy.begin(n)
    for turn in range(turns + 1):
        episodes.slates[:, turn], episodes.clicks[:, turn] = seen.slates, seen.clicks
        if policy.disclosed:
            episodes.users[:, turn], episodes.bored[:, turn] = seen.users, seen.bored
        if turn < turns:
            decision = policy.act(seen, mode, generator)
            if decision.actions is not None:
                episodes.actions[:, turn] = decision.actions.numpy()
            seen = simulator.step(decision.slates.numpy())
    return episodes


def _play_one(
    arrays: Any, draws: Tensor, simulator: Simulator, seen: Observation, episodes: Episodes
) -> None:
    """Fill the one episode of ``episodes`` by compiled code."""
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
