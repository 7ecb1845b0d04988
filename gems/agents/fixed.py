"""Policies that do not learn: the short-term oracle and Random."""

import torch

from gems.agents.base import Decision, Mode, Policy, random_slates
from gems.agents.context import Context
from gems.simulator.kernels import SLATE_SIZE
from gems.simulator.simulator import Observation


class OraclePolicy(Policy):
    """Shows the items with the largest scores for the user as she is, boredom included."""

    disclosed = True

    def act(self, observation: Observation, mode: Mode, generator: torch.Generator) -> Decision:
        """Ask the simulator for the oracle's item (-1) in every slot."""
        return Decision(torch.full((len(observation.slates), SLATE_SIZE), -1))


class RandomPolicy(Policy):
    """Shows uniform items, drawn with replacement."""

    def __init__(self, n_items: int) -> None:
        """Of ``n_items`` items."""
        super().__init__()
        self.n_items = n_items

    def act(self, observation: Observation, mode: Mode, generator: torch.Generator) -> Decision:
        """Draw every slot."""
        return Decision(random_slates(len(observation.slates), self.n_items, generator))


def oracle(context: Context) -> OraclePolicy:
    """Build the short-term oracle."""
    return OraclePolicy()


def random(context: Context) -> RandomPolicy:
    """Build Random."""
    return RandomPolicy(context.n_items)
