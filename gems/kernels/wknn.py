"""Wolpertinger: nearest items of each slot, and a greedy choice among them by a critic.

The critic's first layer is linear, so that what items add to it can be computed once.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gems.kernels.compiled import LANES, add_product, affine, jit_fused, jit_reordered, padded
from gems.kernels.episodes import Array, BeliefArrays, LayerArrays, linear_layers, observe, ranks
from gems.kernels.selection import top_k_rows


def search_arrays(table: Tensor) -> tuple[Array, Array]:
    """What gives the proximity of queries to the items of ``table`` (items, dim), with padding.

    Twice the product less the item's squared norm is largest where the distance is least: a product
    with the first (dim, items), plus the second (items,).
    """
    return padded(2 * table.t(), rows=1).numpy(), padded(-table.square().sum(-1)).numpy()


@jit_fused
def _nearest(query: Any, by_dim: Any, offset: Any, n_items: Any, near: Any, found: Any) -> None:
    """Indices (slots, k) of the items nearest to each slot, into ``found``.

    Args:
        query: (slots, dim).
        by_dim: (dim, items and padding), the first of ``search_arrays``.
        offset: (items and padding,), the second.
        n_items: number of items.
        near: (slots, items and padding), scratch.
        found: (slots, k) written, the nearest first.
    """
    affine(near, offset, query, by_dim)
    top_k_rows(near, n_items, found)


@jit_fused
def _nearest_all(queries: Any, by_dim: Any, offset: Any, n_items: Any, found: Any) -> None:
    """``_nearest`` of queries (m, slots, dim), whose proximities stay in the cache."""
    near = np.empty((queries.shape[1], offset.shape[0]), dtype=np.float32)
    for row in range(queries.shape[0]):
        _nearest(queries[row], by_dim, offset, n_items, near, found[row])


def nearest(queries: Tensor, table: Tensor, k: int) -> Tensor:
    """Indices (m, slots, k) of the nearest rows of ``table`` to queries (m, slots, dim)."""
    found = torch.empty(*queries.shape[:2], k, dtype=torch.int64)
    arrays = search_arrays(table)
    _nearest_all(queries.contiguous().numpy(), *arrays, len(table), found.numpy())
    return found


def project(critic: nn.Sequential, table: Tensor, slots: int) -> Tensor:
    """What the items of ``table`` add to the critic's hidden layer, (slots + 1, items, hidden).

    Each in a slot and all slots after it; the last part is 0.
    """
    weight = linear_layers(critic)[0].weight.detach()
    by_slot = weight[:, -slots * table.shape[1] :].unflatten(1, (slots, -1))
    onwards = by_slot.flip(1).cumsum(1).flip(1).permute(1, 2, 0)
    added = table.new_empty(slots + 1, len(table), len(weight))
    added[-1] = 0
    torch.matmul(table, onwards, out=added[:-1])
    return added


class SlateChooser:
    """The greedy choice with a critic as it is now: a hidden layer with ReLU, and one output."""

    def __init__(self, critic: nn.Sequential, table: Tensor, slots: int) -> None:
        """Take the critic of states and slates of ``slots`` items of ``table`` (items, dim)."""
        self._first, self._last = linear_layers(critic)
        self._added = project(critic, table, slots)

    def __call__(self, states: Tensor, candidates: Tensor) -> Tensor:
        """Slates (m, slots) of states (m, state dim) and candidates (m, slots, c)."""
        weight = self._first.weight[:, : states.shape[1]]
        base = states.detach() @ weight.detach().t() + self._first.bias.detach()
        arrays = base, candidates, self._added, self._last.weight[0]
        return torch.from_numpy(_greedy(*(array.detach().numpy() for array in arrays)))


@jit_reordered
def _greedy(base: Any, candidates: Any, added: Any, last: Any) -> Any:
    """Choose slates (m, slots); ``base`` (m, hidden) is the states' part and is overwritten.

    Slot by slot over all rows, so that what one slot adds stays in the cache.
    """
    m, slots, count = candidates.shape
    slates = np.empty((m, slots), dtype=np.int64)
    zero = np.float32(0)
    for slot in range(slots):
        for row in range(m):
            hidden = base[row]
            best = np.float32(-np.inf)
            chosen = candidates[row, slot, 0]
            for c in range(count):
                onwards = added[slot, candidates[row, slot, c]]
                value = zero
                for h in range(hidden.shape[0]):
                    unit = hidden[h] + onwards[h]
                    value += last[h] * (unit if unit > zero else zero)
                if value > best:
                    best = value
                    chosen = candidates[row, slot, c]
            slates[row, slot] = chosen
            onwards, later = added[slot, chosen], added[slot + 1, chosen]
            for h in range(hidden.shape[0]):
                hidden[h] += onwards[h] - later[h]
    return slates


class WkNNArrays(NamedTuple):
    """Item table, the critic's first layer split by what it sees, and how to use them.

    Attributes:
        critic_belief: the critic's belief encoder.
        by_dim: (dim, items and padding), the first of ``search_arrays``.
        offset: (items and padding,), the second.
        n_items: number of items.
        dim: dimensions of an item.
        neighbours: candidates for each slot.
        by_slot: whether the action is read slot after slot.
        ranks_by_critic: whether candidates are ranked with the critic's belief.
        state: the critic's first layer for states alone.
        added: as ``project`` gives it.
        last: (hidden,) output weights of the critic.
    """

    critic_belief: BeliefArrays
    by_dim: Array
    offset: Array
    n_items: int
    dim: int
    neighbours: int
    by_slot: bool
    ranks_by_critic: bool
    state: LayerArrays
    added: Array
    last: Array


def wknn_arrays(
    critic_belief: BeliefArrays,
    critic: nn.Sequential,
    table: Tensor,
    *,
    slots: int,
    neighbours: int,
    by_slot: bool,
    ranks_by_critic: bool,
) -> WkNNArrays:
    """Arrays of the ranker with the critic as it is now; ``table`` is (items, dim)."""
    (first, last), (n_items, dim) = linear_layers(critic), table.shape
    state = padded(first.weight[:, : -slots * dim].t(), rows=LANES)
    return WkNNArrays(
        critic_belief,
        *search_arrays(table),
        n_items,
        dim,
        neighbours,
        by_slot,
        ranks_by_critic,
        LayerArrays(state.numpy(), padded(first.bias).numpy()),
        project(critic, table, slots).numpy(),
        last.weight.detach()[0].numpy(),
    )


@ranks(WkNNArrays)
@jit_fused
def _rank(arrays: Any, action: Any, states: Any, seen: Any, slate: Any) -> None:
    """Nearest items of each slot, then the critic's greedy choice among them."""
    state = states[0]
    if arrays.ranks_by_critic:
        observe(arrays.critic_belief, seen.slate, seen.clicks, states[1])
        state = states[1]
    slots, dim = slate.shape[0], arrays.dim
    candidates = np.empty((1, slots, arrays.neighbours), dtype=np.int64)
    query = np.empty((slots, dim), dtype=np.float32)
    for slot in range(slots):
        for d in range(dim):
            query[slot, d] = action[slot * dim + d] if arrays.by_slot else action[d * slots + slot]
    near = np.empty((slots, arrays.offset.shape[0]), dtype=np.float32)
    _nearest(query, arrays.by_dim, arrays.offset, arrays.n_items, near, candidates[0])
    base = np.empty((1, arrays.last.shape[0]), dtype=np.float32)
    hidden = arrays.state.bias.copy()
    add_product(hidden, state, arrays.state.weight)
    base[0] = hidden[: base.shape[1]]
    slate[:] = _greedy(base, candidates, arrays.added, arrays.last)[0]
