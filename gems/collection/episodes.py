"""Episodes of a policy, or of a mixture of it with its random phase."""

import copy
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gems.agents.base import Decision, Mode, Policy
from gems.envs.items import item_dtype
from gems.envs.simulator import Observation, Simulator
from gems.envs.users import SeededUsers
from gems.errors import GemsError
from gems.runtime.randomness import stream, torch_stream


class Collected(NamedTuple):
    """n whole episodes of T turns.

    Entry 0 of slates and clicks is the simulator's first slate; action t leads to entry t + 1.

    Attributes:
        observations: (n, T + 1, O) float32. What the policy acted on: its belief states, or, if it
            keeps none, the last slate followed by its clicks.
        actions: (n, T, A). The actions that the policy stores, float32, or, if it stores none, the
            slates.
        slates: (n, T + 1, slate size) of ``items.item_dtype``.
        clicks: (n, T + 1, slate size) bool.
        explored: (n, T) bool, whether the action is that of the random phase.
    """

    observations: NDArray[np.float32]
    actions: NDArray[np.float32] | NDArray[np.signedinteger]
    slates: NDArray[np.signedinteger]
    clicks: NDArray[np.bool_]
    explored: NDArray[np.bool_]

    @property
    def rewards(self) -> NDArray[np.float32]:
        """Number of clicks that each action led to, (n, T)."""
        return self.clicks[:, 1:].sum(-1, dtype=np.float32)


class Player:
    """Plays a policy, with an action of its random phase with probability ``epsilon``."""

    def __init__(self, policy: Policy, simulator: Simulator, *, epsilon: float, seed: int) -> None:
        """Draw all random numbers from streams of ``seed``, so that policies meet the same users.

        Raises:
            GemsError: ``epsilon`` is no probability.
        """
        if not 0 <= epsilon <= 1:
            raise GemsError(f"epsilon is a probability, between 0 and 1, and not {epsilon}.")
        self.simulator, self.epsilon = simulator, epsilon
        self._policy, self._seed = policy, seed
        # Each keeps beliefs of its own, so that both know the whole history of a mixture.
        self._random = copy.deepcopy(policy) if epsilon > 0 else None

    def play(self, n: int, first: int) -> Collected:
        """Play with users ``first`` to ``first + n - 1``, who have random streams of their own.

        Raises:
            GemsError: the policy has no random phase, or gives no action where it stores them.
        """
        purpose = "collect", first
        simulator, turns = self.simulator, self.simulator.config.turns
        explored = stream(self._seed, "epsilon", *purpose).random((turns + 1, n)) < self.epsilon
        # One more turn than is played: the policy acts once more for its last belief states.
        draws: dict[Mode, Tensor] = {}
        policies: dict[Mode, Policy | None] = {"greedy": self._policy, "random": self._random}
        for mode, policy in policies.items():
            if policy is not None:
                policy.begin(n)
                generator = torch_stream(self._seed, "policy", mode, *purpose)
                draws[mode] = policy.draws(mode, turns + 1, n, generator)
        seen = simulator.meet(n, SeededUsers(stream(self._seed, "users", *purpose)))
        observations, actions, slates, clicks = [], [], [], []
        for turn in range(turns + 1):
            drawn = {mode: numbers[turn] for mode, numbers in draws.items()}
            decision = self._act(seen, drawn, torch.from_numpy(explored[turn]).unsqueeze(1))
            observations.append(_observed(seen, decision))
            slates.append(seen.slates.astype(item_dtype(simulator.n_items)))
            clicks.append(seen.clicks)
            if turn < turns:
                if decision.actions is not None:
                    actions.append(decision.actions.numpy())
                seen = simulator.step(decision.slates.numpy())
        return Collected(
            observations=np.stack(observations, axis=1),
            actions=np.stack(actions or slates[1:], axis=1),
            slates=np.stack(slates, axis=1),
            clicks=np.stack(clicks, axis=1),
            explored=np.ascontiguousarray(explored[:turns].T),
        )

    def _act(self, seen: Observation, draws: dict[Mode, Tensor], explored: Tensor) -> Decision:
        """The decision of the mixture; ``explored`` (n, 1) says for whom it is random."""
        if self._random is None:
            return self._checked(self._policy.act(seen, "greedy", draws["greedy"]), "greedy")
        random = self._checked(self._random.act(seen, "random", draws["random"]), "random")
        if self.epsilon == 1 and random.states is not None:
            return random
        # Policies may skip their beliefs in the random phase, so this is needed for epsilon = 1.
        greedy = self._checked(self._policy.act(seen, "greedy", draws["greedy"]), "greedy")
        actions = None
        if greedy.actions is not None and random.actions is not None:
            actions = torch.where(explored, random.actions, greedy.actions)
        return Decision(torch.where(explored, random.slates, greedy.slates), actions, greedy.states)

    def _checked(self, decision: Decision, mode: Mode) -> Decision:
        if mode == "random" and (decision.slates < 0).any():
            raise GemsError(
                "This policy has no random phase to mix in: collect it with epsilon 0, "
                "or collect the method Random."
            )
        if (decision.actions is not None) != (self._policy.stored_dim > 0):
            raise GemsError(
                f"The policy {type(self._policy).__name__} must give actions in mode {mode} "
                f"if its stored_dim is positive, and only then; correct its method act."
            )
        return decision


def _observed(seen: Observation, decision: Decision) -> NDArray[np.float32]:
    """Observations (n, O) as stored."""
    if decision.states is not None:
        return decision.states.numpy()
    return np.concatenate([seen.slates, seen.clicks], axis=1, dtype=np.float32)
