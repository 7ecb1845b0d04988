"""Twin critics Q(s, a) (Section 6)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gems import kernels
from gems.agents.networks import MLP


class Critics(nn.ModuleList):
    """Two networks that each estimate Q(s, a), against overestimation."""

    def __init__(self, state_dim: int, action_dim: int, hidden_dim: int) -> None:
        super().__init__(MLP(state_dim + action_dim, hidden_dim, 1) for _ in range(2))

    def values(self, states: Tensor, actions: Tensor) -> Tensor:
        """Q values (2, m) of both critics, for states (m, state dim) and actions (m, D)."""
        inputs = torch.cat([states, actions], dim=-1)
        return torch.stack([critic(inputs).squeeze(-1) for critic in self])

    def loss(self, states: Tensor, actions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Half the sum of both mean squared errors, and the first critic's mean value.

        Args:
            states: (m, state dim).
            actions: (m, D); they get no gradient.
            targets: (m,).
        """
        if self._has_twin(states):
            from gems.kernels import critics as compiled

            return compiled.loss(states, actions, targets, *self.parameters())
        values = self.values(states, actions)
        errors = [functional.mse_loss(value, targets) for value in values]
        return 0.5 * torch.stack(errors).sum(), values[0].detach().mean()

    def min_value(self, states: Tensor, actions: Tensor) -> Tensor:
        """The smaller Q value (m,) of each state and action; only ``actions`` get a gradient."""
        if self._has_twin(states):
            from gems.kernels import critics as compiled

            return compiled.min_value(states, actions, *self.parameters())
        return torch.minimum(*self.values(states.detach(), actions))

    def _has_twin(self, states: Tensor) -> bool:
        # A subclass may compute something else.
        return type(self) is Critics and kernels.use(states)
