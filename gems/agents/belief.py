"""Belief encoder: a GRU over slates and clicks (Section 5)."""

from typing import Any

import torch
from torch import Tensor, nn

from gems import kernels
from gems.envs.simulator import Observation


class Belief(nn.Module):
    """Encodes slates and clicks into the state of a user.

    Its item table is drawn from a standard normal distribution.
    """

    def __init__(
        self, n_items: int, slate_size: int, *, embedding_dim: int, state_dim: int
    ) -> None:
        super().__init__()
        self.state_dim = state_dim
        self.items = nn.Embedding(n_items, embedding_dim)
        self.gru = nn.GRU(slate_size * (embedding_dim + 1), state_dim, batch_first=True)

    def inputs(self, slates: Tensor, clicks: Tensor) -> Tensor:
        """Inputs of the GRU: each item's embedding and its click, slot after slot (Section 5).

        Args:
            slates: (..., slate size) int64.
            clicks: (..., slate size), with the dtype of the weights.

        Returns:
            (..., slate size x (embedding dim + 1)).
        """
        return torch.cat([self.items(slates), clicks.unsqueeze(-1)], dim=-1).flatten(-2)

    def forward(self, slates: Tensor, clicks: Tensor) -> Tensor:
        """States (n, T, state dim) after each of T observations.

        Args:
            slates: (n, T, slate size) int64.
            clicks: (n, T, slate size), with the dtype of the weights.
        """
        if self._has_twin():
            from gems.kernels import gru as compiled

            return compiled.gru_states(self.gru, self.items.weight, slates, clicks)
        return self.gru(self.inputs(slates, clicks))[0]

    def begin(self, n: int) -> None:
        """Start an episode of ``n`` users in state 0, for ``observe``.

        The weights must not change during the episode.
        """
        self._state = self.items.weight.new_zeros(1, n, self.state_dim)
        self._compiled: Any = None
        if self._has_twin():
            from gems.kernels import gru as compiled

            self._compiled = compiled.GRUTurns(self.gru, self.items.weight, n)

    def observe(self, observation: Observation) -> Tensor:
        """States (n, state dim) after one more observation, without gradients."""
        if self._compiled is not None:
            return self._compiled.observe(observation.slates, observation.clicks)
        weight = self.items.weight
        slates = torch.as_tensor(observation.slates, device=weight.device)
        with torch.no_grad():
            inputs = self.inputs(slates, torch.as_tensor(observation.clicks).to(weight))
            states, self._state = self.gru(inputs.unsqueeze(1), self._state)
        return states[:, 0]

    def compiled(self) -> Any:
        """Arrays for compiled episodes."""
        from gems.kernels.episodes import belief_arrays

        return belief_arrays(self.items.weight, self.gru)

    def _has_twin(self) -> bool:
        # A subclass may compute something else.
        return type(self) is Belief and kernels.use(self.items.weight)


def actor_and_critic(
    n_items: int, slate_size: int, *, embedding_dim: int, state_dim: int, belief_tables: str
) -> tuple[Belief, Belief]:
    """New belief encoders of an actor and of its critics.

    The keyword arguments are options of the section ``agent``.
    """
    actor, critic = (
        Belief(n_items, slate_size, embedding_dim=embedding_dim, state_dim=state_dim)
        for _ in range(2)
    )
    if belief_tables == "equal":
        critic.items.load_state_dict(actor.items.state_dict())
    return actor, critic
