"""Wolpertinger ranker: nearest items of each slot, then a greedy choice by a critic (Section 6)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gems.compiled import jit_reordered
from gems.networks import MLP
from gems.selection import top_k_rows
from gems.simulator.kernels import SLATE_SIZE

BLOCK = 128


def nearest(queries: Tensor, table: Tensor, k: int) -> Tensor:
    """Indices (m, slots, k) of the nearest rows of ``table`` to queries (m, slots, dim).

    Twice the product less the item's squared norm is largest where the distance is least; a column
    of ones makes that one matrix product.
    """
    flat = torch.cat([queries.flatten(0, 1), queries.new_ones(queries[..., 0].numel(), 1)], dim=1)
    items = torch.cat([2 * table.t(), -table.square().sum(-1).unsqueeze(0)])
    if flat.device.type != "cpu":
        return (flat @ items).topk(k, dim=-1).indices.view(*queries.shape[:2], k)
    # Blocks that stay in the cache; all distances of a batch would be 80 MB.
    near = flat.new_empty(min(BLOCK, len(flat)), len(table))
    found = np.empty((len(flat), k), dtype=np.int64)
    for start in range(0, len(flat), BLOCK):
        block = flat[start : start + BLOCK]
        torch.mm(block, items, out=near[: len(block)])
        top_k_rows(near[: len(block)].numpy(), found[start : start + BLOCK])
    return torch.from_numpy(found).view(*queries.shape[:2], k)


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
