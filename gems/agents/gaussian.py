"""The policy head of SAC: a Gaussian squashed by tanh (Section 6)."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gems import kernels
from gems.agents.networks import MLP

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
# Added to 1 - tanh^2, which may round to 0.
EPSILON = 1e-6


class Sampled(NamedTuple):
    """Actions (m, D), and the log-probabilities (m,) of the actions before they are scaled."""

    actions: Tensor
    log_prob: Tensor


def squash(outputs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Samples (m, D) of Gaussians squashed by tanh, and their log-probabilities (m,).

    Args:
        outputs: (m, 2 D), means and then unclipped log standard deviations.
        noise: (m, D), standard normal.
    """
    if kernels.use(outputs):
        from gems.kernels import gaussian as compiled

        return compiled.squash(outputs, noise, LOG_STD_MIN, LOG_STD_MAX, EPSILON)
    mean, log_std = outputs.chunk(2, dim=-1)
    log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
    squashed = torch.tanh(mean + log_std.exp() * noise)
    log_prob = -0.5 * noise.square() - 0.5 * math.log(2 * math.pi) - log_std
    return squashed, (log_prob - torch.log(1 - squashed.square() + EPSILON)).sum(-1)


class Gaussian(nn.Module):
    """Maps states to actions between ``center - scale`` and ``center + scale``, both (D,)."""

    center: Tensor
    scale: Tensor

    def __init__(self, center: Tensor, scale: Tensor, *, state_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.net = MLP(state_dim, hidden_dim, 2 * len(center))
        self.register_buffer("center", center.clone())
        self.register_buffer("scale", scale.clone())

    def mean_action(self, states: Tensor) -> Tensor:
        """Actions (m, D) without noise."""
        mean = self.net(states).chunk(2, dim=-1)[0]
        return self.center + self.scale * torch.tanh(mean)

    def sample(self, outputs: Tensor, noise: Tensor) -> Sampled:
        """Reparametrised actions with their log-probabilities.

        Args:
            outputs: (m, 2 D), outputs of ``net``.
            noise: (m, D), standard normal.
        """
        squashed, log_prob = squash(outputs, noise)
        return Sampled(self.center + self.scale * squashed, log_prob)

    def noise(self, n: int, generator: torch.Generator) -> Tensor:
        """Standard normal numbers (n, D) for ``sample``."""
        shape = n, len(self.center)
        return torch.randn(shape, generator=generator, device=self.center.device)

    def middle_half(self, uniforms: Tensor) -> Tensor:
        """Actions of the random phase, uniform over the middle half of their range.

        Args:
            uniforms: (n, D), uniform between 0 and 1.
        """
        return self.center + self.scale * (uniforms - 0.5)

    def compiled(self) -> Any:
        """Arrays for compiled episodes."""
        from gems.kernels.sac import head_arrays

        net = kernels.arrays_of(self.net)
        return head_arrays(net, self.center, self.scale, LOG_STD_MIN, LOG_STD_MAX)
