"""The actor of SAC in a compiled episode: belief, Gaussian head and ranker."""

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from gems.kernels.compiled import LANES, exp, jit_fused, tanh
from gems.kernels.episodes import (
    Array,
    BeliefArrays,
    NetArrays,
    chooses,
    observe,
    outputs_of,
    rank,
)


class HeadArrays(NamedTuple):
    """Network of the Gaussian head, bounds of the action and of the log standard deviations."""

    net: NetArrays
    center: Array
    scale: Array
    log_std_min: np.float32
    log_std_max: np.float32


class SACArrays(NamedTuple):
    """An actor; ``ranker`` is of a type with a function registered by ``ranks``."""

    belief: BeliefArrays
    head: HeadArrays
    ranker: Any


def head_arrays(
    net: NetArrays, center: Tensor, scale: Tensor, log_std_min: float, log_std_max: float
) -> HeadArrays:
    """Arrays of a Gaussian head."""
    limits = np.float32(log_std_min), np.float32(log_std_max)
    return HeadArrays(net, center.numpy(), scale.numpy(), *limits)


@chooses(SACArrays)
@jit_fused
def _choose(arrays: Any, states: Any, seen: Any, draws: Any, slate: Any, action: Any) -> None:
    """Sample an action with the noise ``draws`` and rank items by it."""
    observe(arrays.belief, seen.slate, seen.clicks, states[0])
    head = arrays.head
    outputs = outputs_of(head.net, states[0])
    dim = head.center.shape[0]
    sampled = np.zeros(-(-dim // LANES) * LANES, dtype=np.float32)
    for d in range(dim):
        log_std = min(max(outputs[dim + d], head.log_std_min), head.log_std_max)
        squashed = tanh(outputs[d] + exp(log_std) * draws[d])
        sampled[d] = head.center[d] + head.scale[d] * squashed
    for d in range(action.shape[0]):
        action[d] = sampled[d]
    rank(arrays.ranker, sampled, states, seen, slate)
