"""The softmax policy of REINFORCE in a compiled episode."""

from typing import Any, NamedTuple

import numpy as np

from gems.kernels.compiled import exp, jit_fused
from gems.kernels.episodes import BeliefArrays, NetArrays, chooses, observe, outputs_of
from gems.kernels.selection import largest


class SoftmaxArrays(NamedTuple):
    """Belief, and the network of the logits."""

    belief: BeliefArrays
    net: NetArrays
    n_items: int


@chooses(SoftmaxArrays)
@jit_fused
def _choose(arrays: Any, states: Any, seen: Any, draws: Any, slate: Any, action: Any) -> None:
    """Draw each rank's item: the first whose cumulated weight exceeds its draw of the total."""
    observe(arrays.belief, seen.slate, seen.clicks, states[0])
    weights = outputs_of(arrays.net, states[0])[: arrays.n_items]
    greatest = weights[largest(weights)]
    for item in range(arrays.n_items):
        weights[item] = exp(weights[item] - greatest)
    total = np.float64(0)
    cumulated = np.empty(arrays.n_items, dtype=np.float64)
    for item in range(arrays.n_items):
        total += weights[item]
        cumulated[item] = total
    for rank in range(slate.shape[0]):
        place = np.searchsorted(cumulated, draws[rank] * total, side="right")
        slate[rank] = min(place, arrays.n_items - 1)
