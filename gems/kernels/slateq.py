"""SlateQ's choice of the largest relevance times value, of batches and in a compiled episode."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gems.kernels.click_model import odds
from gems.kernels.compiled import add_product, jit_fused, padded
from gems.kernels.episodes import Array, BeliefArrays, NetArrays, chooses, observe, outputs_of
from gems.kernels.selection import top_k


@jit_fused
def _weigh(values: Any, scores: Any, sharpness: Any, threshold: Any, out: Any) -> None:
    """Values (items,) times relevances, into ``out``."""
    for item in range(out.shape[0]):
        out[item] = values[item] / (np.float32(1) + odds(scores[item], sharpness, threshold))


@jit_fused
def _best_rows(scores: Any, values: Any, slates: Any, sharpness: Any, threshold: Any) -> None:
    """``best_slates`` row by row, so that a row's products stay in the cache."""
    products = np.empty(values.shape[1], dtype=np.float32)
    for row in range(values.shape[0]):
        _weigh(values[row], scores[row], sharpness, threshold, products)
        top_k(products, slates[row])


def best_slates(
    scores: Tensor, values: Tensor, slate_size: int, sharpness: float, threshold: float
) -> Tensor:
    """Slates (m, slate size) of the largest relevance times value.

    Args:
        scores: (m, items), scores of the logistic click model.
        values: (m, items).
        slate_size: items of a slate.
        sharpness: of the logistic function of the scores.
        threshold: score whose relevance is one half.
    """
    slates = torch.empty(len(values), slate_size, dtype=torch.int64)
    constants = np.float32(sharpness), np.float32(threshold)
    _best_rows(scores.numpy(), values.detach().numpy(), slates.numpy(), *constants)
    return slates


class SlateQArrays(NamedTuple):
    """Belief, Q network, items of the simulator, and the share of random slates.

    ``dims`` are the dimensions set to 0 by boredom, of the turn just played if ``by_was_bored``.
    """

    belief: BeliefArrays
    net: NetArrays
    by_dim: Array
    dims: Array
    by_was_bored: bool
    n_items: int
    sharpness: np.float32
    threshold: np.float32
    epsilon: np.float32


def slateq_arrays(
    belief: BeliefArrays,
    net: NetArrays,
    items: Tensor,
    dims: Tensor,
    *,
    by_was_bored: bool,
    sharpness: float,
    threshold: float,
    epsilon: float,
) -> SlateQArrays:
    """Arrays of a policy; ``items`` (items, dim) are those of the simulator, normalised."""
    return SlateQArrays(
        belief,
        net,
        padded(items.t()).numpy(),
        dims.numpy(),
        by_was_bored,
        len(items),
        np.float32(sharpness),
        np.float32(threshold),
        np.float32(epsilon),
    )


@chooses(SlateQArrays)
@jit_fused
def _choose(arrays: Any, states: Any, seen: Any, draws: Any, slate: Any, action: Any) -> None:
    """Explore by the first draw, with the items of the others, or show the best items."""
    observe(arrays.belief, seen.slate, seen.clicks, states[0])
    if draws[0] < arrays.epsilon:
        for rank in range(slate.shape[0]):
            slate[rank] = min(int(draws[1 + rank] * arrays.n_items), arrays.n_items - 1)
        return
    values = outputs_of(arrays.net, states[0])
    effective = seen.user.copy()
    bored = seen.was_bored if arrays.by_was_bored else seen.bored
    for topic in range(arrays.dims.shape[0]):
        for d in range(arrays.dims.shape[1]):
            if bored[topic] and arrays.dims[topic, d] > 0:
                effective[d] = 0
    scores = np.zeros_like(values)
    add_product(scores, effective, arrays.by_dim)
    products = np.empty(arrays.n_items, dtype=np.float32)
    _weigh(values, scores, arrays.sharpness, arrays.threshold, products)
    top_k(products, slate)
