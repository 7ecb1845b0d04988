"""Episodes of a policy with simulated users: collection, validation and test alike."""

import torch

from gems.agents.base import Mode, Policy
from gems.data.replay import Episodes
from gems.randomness import stream, torch_stream
from gems.simulator.simulator import Simulator


@torch.inference_mode()
def rollout(
    policy: Policy, simulator: Simulator, n: int, mode: Mode, seed: int, *purpose: str | int
) -> Episodes:
    """Play one episode with each of ``n`` fresh users.

    Args:
        policy: chooses the slates; on the CPU.
        simulator: the environment; its generator is reset to that of ``seed`` and ``purpose``.
        n: number of users.
        mode: how the policy acts.
        seed: seed of the run.
        purpose: name of the random streams, so that all methods meet the same users.
    """
    generator = torch_stream(seed, "policy", *purpose)
    turns = simulator.config.turns
    episodes = Episodes.empty(n, turns, policy.stored_dim, policy.disclosed)
    seen = simulator.reset(n, stream(seed, "users", *purpose))
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
