"""The policy head of SAC: a Gaussian squashed by tanh into the bounds of the action (Section 6)."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gems.compiled import exp, jit_fused, jit_reordered, log
from gems.networks import MLP
from gems.sections import AgentConfig

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
# Added to the slope of tanh, which has no logarithm where it is 0.
EPSILON = 1e-6
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_LEAST, _MOST, _EPSILON, _HALF_LOG_2PI, _HALF, _ONE, _TWO, _ZERO = (
    np.float32(x) for x in (LOG_STD_MIN, LOG_STD_MAX, EPSILON, HALF_LOG_2PI, 0.5, 1, 2, 0)
)


class Sampled(NamedTuple):
    """Actions (m, D) and their log-probabilities (m,), without the scale of the action."""

    actions: Tensor
    log_prob: Tensor


def squash(outputs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Draws (m, D) of Gaussians squashed by tanh, and their log-probabilities (m,).

    Args:
        outputs: (m, 2 D), means and then log standard deviations before they are bounded.
        noise: (m, D), standard normal.
    """
    if outputs.device.type == "cpu":
        return _Squashed.apply(outputs, noise)
    return plain_squash(outputs, noise)


def plain_squash(outputs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """``squash`` by autograd."""
    mean, log_std = outputs.chunk(2, dim=-1)
    log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
    squashed = torch.tanh(mean + log_std.exp() * noise)
    log_prob = -0.5 * noise.square() - HALF_LOG_2PI - log_std
    return squashed, (log_prob - torch.log(1 - squashed.square() + EPSILON)).sum(-1)


@jit_fused
def _tanh(x: Any) -> Any:
    """Tanh and its slope, which 1 - tanh^2 would not give near 1."""
    e = exp(-_TWO * abs(x))
    scale = _ONE / (_ONE + e)
    size = (_ONE - e) * scale
    return size if x > _ZERO else -size, _TWO * _TWO * e * scale * scale


@jit_reordered
def _forward(outputs: Any, noise: Any, squashed: Any, log_prob: Any) -> None:
    """``squash`` into ``squashed`` and ``log_prob``."""
    dim = noise.shape[1]
    for row in range(noise.shape[0]):
        total = _ZERO
        for d in range(dim):
            log_std, draw = min(max(outputs[row, dim + d], _LEAST), _MOST), noise[row, d]
            squashed[row, d], slope = _tanh(outputs[row, d] + exp(log_std) * draw)
            total -= _HALF * draw * draw + _HALF_LOG_2PI + log_std + log(slope + _EPSILON)
        log_prob[row] = total


@jit_fused
def _backward(outputs: Any, noise: Any, d_squashed: Any, d_log_prob: Any, d_outputs: Any) -> None:
    """Gradient of ``outputs``."""
    dim = noise.shape[1]
    for row in range(noise.shape[0]):
        d_total = d_log_prob[row]
        for d in range(dim):
            raw = outputs[row, dim + d]
            log_std = min(max(raw, _LEAST), _MOST)
            spread = exp(log_std) * noise[row, d]
            squashed, slope = _tanh(outputs[row, d] + spread)
            through_log = _TWO * d_total * squashed / (slope + _EPSILON)
            d_mean = (d_squashed[row, d] + through_log) * slope
            d_outputs[row, d] = d_mean
            d_outputs[row, dim + d] = d_mean * spread - d_total if raw == log_std else _ZERO


class _Squashed(torch.autograd.Function):
    """``squash`` and its gradient in one pass each."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        squashed, log_prob = torch.empty_like(noise), noise.new_empty(len(noise))
        arrays = outputs.detach(), noise, squashed, log_prob
        _forward(*(array.numpy() for array in arrays))
        ctx.save_for_backward(outputs, noise)
        return squashed, log_prob

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        outputs, noise = ctx.saved_tensors
        d_outputs = torch.empty_like(outputs)
        arrays = outputs.detach(), noise, *(grad.contiguous() for grad in grads), d_outputs
        _backward(*(array.numpy() for array in arrays))
        return d_outputs, None


class Gaussian(nn.Module):
    """Policy head: a Gaussian squashed by tanh into the bounds of the action."""

    center: Tensor
    scale: Tensor

    def __init__(self, center: Tensor, scale: Tensor, config: AgentConfig) -> None:
        """Take the bounds, both (D,)."""
        super().__init__()
        self.net = MLP(config.state_dim, config.hidden_dim, 2 * len(center))
        self.register_buffer("center", center.clone())
        self.register_buffer("scale", scale.clone())

    def mean_action(self, states: Tensor) -> Tensor:
        """Deterministic actions (m, D)."""
        mean = self.net(states).chunk(2, dim=-1)[0]
        return self.center + self.scale * torch.tanh(mean)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Sampled:
        """Reparametrised actions with their log-probabilities, from the network's outputs."""
        noise = self.noise(outputs[:, : len(self.center)], generator)
        squashed, log_prob = squash(outputs, noise)
        return Sampled(self.center + self.scale * squashed, log_prob)

    def noise(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Standard normal draws of the shape of ``like``."""
        return torch.randn(like.shape, generator=generator, device=like.device)

    def middle_half(self, n: int, generator: torch.Generator) -> Tensor:
        """Actions of the random phase: uniform over the middle half of the range, (n, D)."""
        uniform = torch.rand(n, len(self.center), generator=generator, device=self.center.device)
        return self.center + self.scale * (uniform - 0.5)
