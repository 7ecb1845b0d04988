"""Policies that do not learn: the short-term oracle and Random."""

import torch

from gems.agents.base import Decision, Mode, Policy, random_slates
from gems.agents.context import Context
from gems.selection import distinct_items
from gems.simulator.kernels import SLATE_SIZE
from gems.simulator.simulator import Observation


class OraclePolicy(Policy):
    """Shows the items with the largest scores for the user as she is, boredom included."""

    disclosed = True

    def act(self, observation: Observation, mode: Mode, generator: torch.Generator) -> Decision:
        """Ask the simulator for the oracle's item (-1) in every slot."""
        return Decision(torch.full((len(observation.slates), SLATE_SIZE), -1))


class RandomPolicy(Policy):
    """Shows uniform items: all different, or drawn with replacement."""

    def __init__(self, n_items: int, distinct: bool) -> None:
        """Of ``n_items`` items."""
        super().__init__()
        self.n_items, self.distinct = n_items, distinct

    def act(self, observation: Observation, mode: Mode, generator: torch.Generator) -> Decision:
        """Draw every slot."""
        n = len(observation.slates)
        if not self.distinct:
            return Decision(random_slates(n, self.n_items, generator))
        uniforms = torch.rand(n, SLATE_SIZE, dtype=torch.float64, generator=generator)
        return Decision(torch.from_numpy(distinct_items(uniforms.numpy(), self.n_items)))


def oracle(context: Context) -> OraclePolicy:
    """Build the short-term oracle."""
    return OraclePolicy()


def random(context: Context) -> RandomPolicy:
    """Build Random."""
    return RandomPolicy(context.n_items, context.config.random.items == "distinct")
