"""Two critics of states and actions: their values, their loss, and what a policy climbs.

On the CPU gradients are taken block by block along with the values, while the hidden units of a
block are in the cache. The plain formulation, which a GPU runs, is the reference for both.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gems.networks import BLOCK_ROWS, MLP


def _values(parameters: Any, pairs: Tensor, scratch: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden units, in ``scratch``, and values (rows, 1) of one block."""
    first, bias, last, last_bias = parameters
    hidden = torch.addmm(bias, pairs, first.t(), out=scratch[: len(pairs)]).relu_()
    return hidden, torch.addmm(last_bias, hidden, last.t())


class _Loss(torch.autograd.Function):
    """Half the sum of both mean squared errors, and the mean value of the first critic.

    With one output, the gradient of a hidden unit's sum is its output weight where the unit is
    active, times the row's: so the signs of the units take the place of a matrix of gradients.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, actions: Tensor, targets: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        m, width = states.shape
        # The column of ones stands for the bias.
        rows = torch.cat([states, actions, states.new_ones(m, 1)], dim=-1)
        scratch = states.new_empty(BLOCK_ROWS, len(parameters[0]))
        d_states, grads, values = torch.zeros_like(states), [], []
        for critic in (parameters[:4], parameters[4:]):
            first, _, last, _ = critic
            weighted = last.t() * first[:, :width]
            d_first, d_last = first.new_zeros(len(first), rows.shape[1]), torch.zeros_like(last)
            off = torch.empty_like(targets)
            blocks = (part.split(BLOCK_ROWS) for part in (rows, targets, off, d_states))
            for x, wanted, error, d_state in zip(*blocks, strict=True):
                hidden, value = _values(critic, x[:, :-1], scratch)
                torch.sub(value[:, 0], wanted, out=error)
                scaled = (error / m).unsqueeze(-1)
                d_last.addmm_(scaled.t(), hidden)
                active = hidden.sign_()
                d_first.addmm_(active.t(), x * scaled)
                d_state.addcmul_(active @ weighted, scaled)
            d_first *= last.t()
            grads += [d_first[:, :-1], d_first[:, -1], d_last, off.mean(0, keepdim=True)]
            values.append(off)
        loss = 0.5 * torch.stack(values).square().mean(-1).sum()
        mean = (values[0] + targets).mean()
        ctx.save_for_backward(d_states, *grads)
        ctx.mark_non_differentiable(mean)
        return loss, mean

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_states, *rest = (saved * grads[0] for saved in ctx.saved_tensors)
        return d_states, None, None, *rest


class _Least(torch.autograd.Function):
    """The smaller of both values, with a gradient for actions alone."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, actions: Tensor, *parameters: Tensor) -> Tensor:
        critics = parameters[:4], parameters[4:]
        width = states.shape[1]
        pairs = torch.cat([states, actions], dim=-1)
        least, slopes = states.new_empty(len(states)), torch.empty_like(actions)
        weighted = [last.t() * first[:, width:] for first, _, last, _ in critics]
        scratch = states.new_empty(2, BLOCK_ROWS, len(parameters[0]))
        blocks = (part.split(BLOCK_ROWS) for part in (pairs, least, slopes))
        for x, out, slope in zip(*blocks, strict=True):
            hidden_a, a = _values(critics[0], x, scratch[0])
            hidden_b, b = _values(critics[1], x, scratch[1])
            torch.minimum(a[:, 0], b[:, 0], out=out)
            if ctx.needs_input_grad[1]:
                # Equal values share the gradient, as in torch.minimum.
                share = 0.5 * (1 + (b - a).sign())
                torch.mm(hidden_a.sign_(), weighted[0], out=slope).mul_(share)
                slope.addcmul_(hidden_b.sign_() @ weighted[1], 1 - share)
        ctx.save_for_backward(slopes)
        return least

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return None, slopes * grads[0].unsqueeze(-1), *([None] * 8)


class Critics(nn.ModuleList):
    """Two critics that value pairs of a state and an action."""

    def __init__(self, state_dim: int, action_dim: int, hidden_dim: int) -> None:
        """PyTorch's initialisation, one critic after the other."""
        super().__init__(MLP(state_dim + action_dim, hidden_dim, 1) for _ in range(2))

    def _flat(self) -> list[Tensor]:
        return [parameter for critic in self for parameter in critic.parameters()]

    def loss(self, states: Tensor, actions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Half the sum of both mean squared errors, and the first critic's mean value.

        Args:
            states: (m, state dim).
            actions: (m, D); gets no gradient.
            targets: (m,).
        """
        if states.device.type == "cpu":
            return _Loss.apply(states, actions, targets, *self._flat())
        return self.plain_loss(states, actions, targets)

    def plain_loss(self, states: Tensor, actions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """``loss`` by autograd."""
        pairs = torch.cat([states, actions], dim=-1)
        values = [critic(pairs).squeeze(-1) for critic in self]
        loss = 0.5 * torch.stack([functional.mse_loss(value, targets) for value in values]).sum()
        return loss, values[0].detach().mean()

    def least(self, states: Tensor, actions: Tensor) -> Tensor:
        """The smaller value (m,) of each pair; only ``actions`` get a gradient."""
        if states.device.type == "cpu":
            return _Least.apply(states, actions, *self._flat())
        return self.plain_least(states, actions)

    def plain_least(self, states: Tensor, actions: Tensor) -> Tensor:
        """``least`` by autograd."""
        pairs = torch.cat([states.detach(), actions], dim=-1)
        return torch.minimum(*(critic(pairs).squeeze(-1) for critic in self))
