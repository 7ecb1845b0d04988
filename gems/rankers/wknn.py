"""Wolpertinger ranker: nearest items of each slot, then a greedy choice by a critic (Section 6)."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gems.compiled import affine, jit_fused, jit_reordered, padded
from gems.networks import MLP
from gems.selection import top_k_rows
from gems.simulator.kernels import SLATE_SIZE


def proximity(table: Tensor) -> tuple[Tensor, Tensor]:
    """What gives the proximity of queries to items: a product with the first, plus the second.

    Twice the product less the item's squared norm is largest where the distance is least. The
    first is (dim, items), the second (items,).
    """
    return 2 * table.t(), -table.square().sum(-1)


def search_arrays(table: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``proximity`` with padding, as ``nearest_items`` takes them."""
    by_dim, offset = proximity(table)
    return padded(by_dim, rows=1).numpy(), padded(offset).numpy()


@jit_fused
def nearest_items(
    query: Any, by_dim: Any, offset: Any, n_items: Any, near: Any, found: Any
) -> None:
    """Indices (slots, k) of the items nearest to each slot, into ``found``.

    Args:
        query: (slots, dim).
        by_dim: (dim, items and padding), the first of ``proximity``.
        offset: (items and padding,), the second.
        n_items: number of items.
        near: (slots, items and padding), room.
        found: (slots, k) written, the nearest first.
    """
    affine(near, offset, query, by_dim)
    top_k_rows(near, n_items, found)


@jit_fused
def _nearest_all(queries: Any, by_dim: Any, offset: Any, n_items: Any, found: Any) -> None:
    """``nearest_items`` of queries (m, slots, dim), whose proximities stay in the cache."""
    near = np.empty((queries.shape[1], offset.shape[0]), dtype=np.float32)
    for row in range(queries.shape[0]):
        nearest_items(queries[row], by_dim, offset, n_items, near, found[row])


def nearest(queries: Tensor, table: Tensor, k: int) -> Tensor:
    """Indices (m, slots, k) of the nearest rows of ``table`` to queries (m, slots, dim)."""
    if queries.device.type != "cpu":
        by_dim, offset = proximity(table)
        return (queries @ by_dim + offset).topk(k, dim=-1).indices
    found = np.empty((*queries.shape[:2], k), dtype=np.int64)
    _nearest_all(queries.contiguous().numpy(), *search_arrays(table), len(table), found)
    return torch.from_numpy(found)


def greedy_slates_plain(
    critic: nn.Module, states: Tensor, candidates: Tensor, table: Tensor
) -> Tensor:
    """Slot after slot, the candidate that the critic values most: (m, slots).

    The slots not yet chosen are filled with the candidate under trial.

    Args:
        critic: values (rows, 1) of (rows, state + slots x dim).
        states: (m, state).
        candidates: (m, slots, c) items.
        table: (items, dim).
    """
    m, slots, c = candidates.shape
    slates = candidates.new_zeros(m, slots)
    for slot in range(slots):
        tried = slates.unsqueeze(1).repeat(1, c, 1)
        tried[:, :, slot:] = candidates[:, slot].unsqueeze(-1)
        pairs = torch.cat([states.unsqueeze(1).expand(-1, c, -1), table[tried].flatten(2)], dim=-1)
        best = critic(pairs.flatten(0, 1)).view(m, c).argmax(-1, keepdim=True)
        slates[:, slot] = candidates[:, slot].gather(-1, best).squeeze(-1)
    return slates


def project(critic: MLP, table: Tensor) -> Tensor:
    """What the items of ``table`` add to the critic's hidden layer, (slots + 1, items, hidden).

    Each in a slot and all slots after it; the last part is 0.
    """
    weight = critic.first.weight.detach()
    by_slot = weight[:, -SLATE_SIZE * table.shape[1] :].unflatten(1, (SLATE_SIZE, -1))
    onwards = by_slot.flip(1).cumsum(1).flip(1).permute(1, 2, 0)
    added = table.new_empty(SLATE_SIZE + 1, len(table), len(weight))
    added[-1] = 0
    torch.matmul(table, onwards, out=added[:-1])
    return added


def greedy_slates(critic: MLP, states: Tensor, candidates: Tensor, added: Tensor) -> Tensor:
    """``greedy_slates_plain`` on the CPU: the first layer is linear, so its parts are summed."""
    first, last = critic.first, critic.last
    base = states @ first.weight.detach()[:, : states.shape[1]].t() + first.bias.detach()
    arrays = base, candidates, added, last.weight[0]
    return torch.from_numpy(greedy(*(array.detach().numpy() for array in arrays)))


@jit_reordered
def greedy(base: Any, candidates: Any, added: Any, last: Any) -> Any:
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
