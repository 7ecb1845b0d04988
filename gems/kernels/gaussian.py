"""Draws of a Gaussian squashed by tanh, with log-probabilities and their gradients."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gems.kernels.compiled import exp, jit_fused, jit_reordered, log

_HALF_LOG_2PI = np.float32(0.5 * math.log(2 * math.pi))
_HALF, _ONE, _TWO, _ZERO = (np.float32(x) for x in (0.5, 1, 2, 0))


@jit_fused
def _tanh(x: Any) -> Any:
    """Tanh and its slope, which 1 - tanh^2 would not give near 1."""
    e = exp(-_TWO * abs(x))
    scale = _ONE / (_ONE + e)
    size = (_ONE - e) * scale
    return size if x > _ZERO else -size, _TWO * _TWO * e * scale * scale


@jit_reordered
def _forward(outputs: Any, noise: Any, limits: Any, squashed: Any, log_prob: Any) -> None:
    """``squash`` into ``squashed`` and ``log_prob``."""
    log_std_min, log_std_max, epsilon = limits
    dim = noise.shape[1]
    for row in range(noise.shape[0]):
        total = _ZERO
        for d in range(dim):
            log_std = min(max(outputs[row, dim + d], log_std_min), log_std_max)
            draw = noise[row, d]
            squashed[row, d], slope = _tanh(outputs[row, d] + exp(log_std) * draw)
            total -= _HALF * draw * draw + _HALF_LOG_2PI + log_std + log(slope + epsilon)
        log_prob[row] = total


@jit_fused
def _backward(
    outputs: Any, noise: Any, limits: Any, d_squashed: Any, d_log_prob: Any, d_outputs: Any
) -> None:
    """Gradient of ``outputs``."""
    log_std_min, log_std_max, epsilon = limits
    dim = noise.shape[1]
    for row in range(noise.shape[0]):
        d_total = d_log_prob[row]
        for d in range(dim):
            raw = outputs[row, dim + d]
            log_std = min(max(raw, log_std_min), log_std_max)
            spread = exp(log_std) * noise[row, d]
            squashed, slope = _tanh(outputs[row, d] + spread)
            through_log = _TWO * d_total * squashed / (slope + epsilon)
            d_mean = (d_squashed[row, d] + through_log) * slope
            d_outputs[row, d] = d_mean
            d_outputs[row, dim + d] = d_mean * spread - d_total if raw == log_std else _ZERO


class _Squashed(torch.autograd.Function):
    """``squash`` and its gradient in one pass each."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, noise: Tensor, limits: Any) -> tuple[Tensor, Tensor]:
        squashed, log_prob = torch.empty_like(noise), noise.new_empty(len(noise))
        written = squashed.numpy(), log_prob.numpy()
        _forward(outputs.detach().numpy(), noise.numpy(), limits, *written)
        ctx.save_for_backward(outputs, noise)
        ctx.limits = limits
        return squashed, log_prob

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        outputs, noise = ctx.saved_tensors
        d_outputs = torch.empty_like(outputs)
        arrays = *(grad.contiguous() for grad in grads), d_outputs
        given = outputs.detach().numpy(), noise.numpy()
        _backward(*given, ctx.limits, *(array.numpy() for array in arrays))
        return d_outputs, None, None


def squash(
    outputs: Tensor, noise: Tensor, log_std_min: float, log_std_max: float, epsilon: float
) -> tuple[Tensor, Tensor]:
    """Draws (m, D) of Gaussians squashed by tanh, and their log-probabilities (m,).

    Args:
        outputs: (m, 2 D), means and then log standard deviations before they are bounded.
        noise: (m, D), standard normal.
        log_std_min: lower bound of the log standard deviations.
        log_std_max: upper bound.
        epsilon: added to the slope of tanh.
    """
    limits = tuple(np.float32(x) for x in (log_std_min, log_std_max, epsilon))
    return _Squashed.apply(outputs, noise, limits)
