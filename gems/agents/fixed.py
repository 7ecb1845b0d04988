"""Policies that do not learn: the short-term oracle and Random (Section 6)."""

import torch
from torch import Tensor

from gems.agents.base import Decision, Mode, Policy, random_slates
from gems.envs.simulator import Observation
from gems.runtime.randomness import distinct_items


class OraclePolicy(Policy):
    """Shows the items with the highest scores for each user, given the topics that bore them."""

    disclosed = True

    def act(self, observation: Observation, mode: Mode, draws: Tensor) -> Decision:
        # The simulator replaces -1 by the oracle's item for the slot.
        return Decision(torch.full(observation.slates.shape, -1))


class RandomPolicy(Policy):
    """Shows uniformly drawn items, all different (``distinct``) or drawn with replacement."""

    def __init__(self, n_items: int, slate_size: int, *, distinct: bool) -> None:
        super().__init__()
        self.n_items, self.slate_size, self.distinct = n_items, slate_size, distinct

    def draws(self, mode: Mode, turns: int, n: int, generator: torch.Generator) -> Tensor:
        if not self.distinct:
            return random_slates(turns, n, self.slate_size, self.n_items, generator)
        return torch.rand(turns, n, self.slate_size, dtype=torch.float64, generator=generator)

    def act(self, observation: Observation, mode: Mode, draws: Tensor) -> Decision:
        if not self.distinct:
            return Decision(draws)
        return Decision(torch.from_numpy(distinct_items(draws.numpy(), self.n_items)))
