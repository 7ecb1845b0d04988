"""Belief encoder: a GRU over slates and clicks (Section 5 of the specification)."""

import torch
from torch import Tensor, nn

from gems.agents.gru import GRUTurns, gru_states
from gems.sections import AgentConfig
from gems.simulator.kernels import SLATE_SIZE
from gems.simulator.simulator import Observation


class Belief(nn.Module):
    """State of a user from the slates shown and the clicks, with an item table of its own."""

    def __init__(self, n_items: int, config: AgentConfig) -> None:
        """Standard normal item table; PyTorch's initialisation of the GRU."""
        super().__init__()
        self.items = nn.Embedding(n_items, config.embedding_dim)
        width = SLATE_SIZE * (config.embedding_dim + 1)
        self.gru = nn.GRU(width, config.state_dim, batch_first=True)

    def _inputs(self, slates: Tensor, clicks: Tensor) -> Tensor:
        return torch.cat([self.items(slates), clicks.unsqueeze(-1)], dim=-1).flatten(-2)

    def forward(self, slates: Tensor, clicks: Tensor) -> Tensor:
        """States (n, T, state) after each of T observations, both (n, T, slate size)."""
        if slates.device.type == "cpu":
            return gru_states(self.gru, self.items.weight, slates, clicks)
        return self.gru(self._inputs(slates, clicks))[0]

    def begin(self, n: int) -> None:
        """Start ``n`` users at a state of 0, to be observed turn by turn on the CPU.

        The weights must not change until the next start.
        """
        self._turns = GRUTurns(self.gru, self.items.weight, n)

    def observe(self, observation: Observation) -> Tensor:
        """States (n, state) of the users after one more observation."""
        return self._turns.observe(observation.slates, observation.clicks)


def actor_and_critic(n_items: int, config: AgentConfig) -> tuple[Belief, Belief]:
    """New belief encoders of an actor and of its critics."""
    actor, critic = Belief(n_items, config), Belief(n_items, config)
    if config.belief_tables == "equal":
        critic.items.load_state_dict(actor.items.state_dict())
    return actor, critic
