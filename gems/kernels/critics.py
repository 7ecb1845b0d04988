"""Losses and smaller values of two critics with one hidden layer each, with their gradients.

One pass over the hidden units gives the values and all that their gradients need.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gems.kernels.compiled import jit_reordered

_ZERO, _HALF, _ONE = (np.float32(x) for x in (0, 0.5, 1))


@jit_reordered
def _judge(sums: Any, last: Any, bias: Any, targets: Any, error: Any, d_last: Any) -> None:
    """Errors of values, and what the gradients of half their mean square need.

    Args:
        sums: (m, hidden) before the ReLU; replaced by error / m where positive, by 0 elsewhere.
        last: (hidden,) output weights.
        bias: (1,) output bias.
        targets: (m,).
        error: (m,) written.
        d_last: (hidden,) gradient of the output weights, added to.
    """
    share = _ONE / np.float32(sums.shape[0])
    for row in range(sums.shape[0]):
        value = bias[0]
        for h in range(last.shape[0]):
            value += last[h] * max(sums[row, h], _ZERO)
        error[row] = value - targets[row]
        scaled = share * error[row]
        for h in range(last.shape[0]):
            unit = sums[row, h]
            d_last[h] += scaled * max(unit, _ZERO)
            sums[row, h] = scaled if unit > _ZERO else _ZERO


@jit_reordered
def _take_smaller(sums: Any, other: Any, lasts: Any, biases: Any, smaller: Any) -> None:
    """The smaller of two values of each row, and which units of which critic it comes from.

    Args:
        sums: (m, hidden) of the first critic before the ReLU; replaced by its share in the
            gradient where positive, by 0 elsewhere.
        other: likewise of the second critic.
        lasts: (2, hidden) output weights.
        biases: (2,) output biases.
        smaller: (m,) written.
    """
    for row in range(sums.shape[0]):
        a, b = biases[0], biases[1]
        for h in range(lasts.shape[1]):
            a += lasts[0, h] * max(sums[row, h], _ZERO)
            b += lasts[1, h] * max(other[row, h], _ZERO)
        smaller[row] = a if a < b or a != a else b
        # Equal values share the gradient, as in torch.minimum.
        share = _ONE if a < b else (_HALF if a == b else _ZERO)
        for h in range(lasts.shape[1]):
            sums[row, h] = share if sums[row, h] > _ZERO else _ZERO
            other[row, h] = _ONE - share if other[row, h] > _ZERO else _ZERO


def _with_ones(states: Tensor, actions: Tensor) -> Tensor:
    """Pairs and a column of ones, for ``_with_bias``."""
    return torch.cat([states, actions, states.new_ones(len(states), 1)], dim=-1)


def _with_bias(weight: Tensor, bias: Tensor) -> Tensor:
    """Weights and biases of a layer, whose inputs end in a one: that saves passes for the bias."""
    return torch.cat([weight, bias.unsqueeze(1)], dim=-1)


class _Loss(torch.autograd.Function):
    """Half the sum of both mean squared errors, and the mean value of the first critic.

    With one output, the gradient of a hidden unit's sum is its output weight where the unit is
    active, times the row's: so the output weights are multiplied in once, at the end.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, actions: Tensor, targets: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        width, rows = states.shape[1], _with_ones(states, actions)
        d_states, grads, errors = torch.zeros_like(states), [], []
        for first, bias, last, last_bias in (parameters[:4], parameters[4:]):
            active = rows @ _with_bias(first, bias).t()
            error, d_last = torch.empty_like(targets), torch.zeros_like(last)
            arrays = active, last[0], last_bias, targets, error, d_last[0]
            _judge(*(array.detach().numpy() for array in arrays))
            d_states.addmm_(active, last.t() * first[:, :width])
            # This way round, as the matrix library is the faster with it.
            d_first = (rows.t() @ active).t() * last.t()
            grads += [d_first[:, :-1], d_first[:, -1], d_last, error.mean(0, keepdim=True)]
            errors.append(error)
        loss = 0.5 * torch.stack(errors).square().mean(-1).sum()
        mean = (errors[0] + targets).mean()
        ctx.save_for_backward(d_states, *grads)
        ctx.mark_non_differentiable(mean)
        return loss, mean

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_states, *rest = (saved * grads[0] for saved in ctx.saved_tensors)
        return d_states, None, None, *rest


class _MinValue(torch.autograd.Function):
    """The smaller of both values, with a gradient for actions alone."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, actions: Tensor, *parameters: Tensor) -> Tensor:
        first_a, bias_a, last_a, last_bias_a, first_b, bias_b, last_b, last_bias_b = parameters
        rows, smaller = _with_ones(states, actions), states.new_empty(len(states))
        active_a = rows @ _with_bias(first_a, bias_a).t()
        active_b = rows @ _with_bias(first_b, bias_b).t()
        lasts, biases = torch.cat([last_a, last_b]), torch.cat([last_bias_a, last_bias_b])
        arrays = active_a, active_b, lasts, biases, smaller
        _take_smaller(*(array.detach().numpy() for array in arrays))
        if ctx.needs_input_grad[1]:
            width = states.shape[1]
            slopes = active_a @ (last_a.t() * first_a[:, width:])
            slopes.addmm_(active_b, last_b.t() * first_b[:, width:])
            ctx.save_for_backward(slopes)
        return smaller

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return None, slopes * grads[0].unsqueeze(-1), *([None] * 8)


def loss(
    states: Tensor, actions: Tensor, targets: Tensor, *parameters: Tensor
) -> tuple[Tensor, Tensor]:
    """Half the sum of both mean squared errors, and the mean value of the first critic.

    Args:
        states: (m, state dim).
        actions: (m, D); gets no gradient.
        targets: (m,).
        parameters: of each critic, weight and bias of the hidden and of the output layer.
    """
    return _Loss.apply(states, actions, targets, *parameters)


def min_value(states: Tensor, actions: Tensor, *parameters: Tensor) -> Tensor:
    """The smaller value (m,) of each pair; only ``actions`` get a gradient. As for ``loss``."""
    return _MinValue.apply(states, actions, *parameters)
