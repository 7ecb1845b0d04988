"""Decoding of slates by a slate VAE, of batches and in a compiled episode."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gems.kernels.compiled import LANES, affine, jit_fused, padded
from gems.kernels.episodes import (
    LayerArrays,
    from_rectified,
    layer_arrays,
    linear_layers,
    ranks,
    rectified,
    rectify,
)
from gems.kernels.selection import largest_of_rows

# Items that are compared with all slots of a slate before the next ones: their table stays in the
# cache.
BLOCK_ITEMS = 32 * LANES


def _in_blocks(table: Tensor) -> NDArray[np.float32]:
    """A table (items, dim) as (blocks, dim, items of a block), zeros filling up the last block."""
    by_dim = padded(table.t(), rows=1, columns=BLOCK_ITEMS)
    return by_dim.unflatten(1, (-1, BLOCK_ITEMS)).transpose(0, 1).contiguous().numpy()


@jit_fused
def _find_best(slots: Any, blocks: Any, n_items: Any, found: Any) -> None:
    """The item with the largest product with each slot, into ``found`` (m, slots).

    Args:
        slots: (m, slots, dim).
        blocks: those of ``_in_blocks``.
        n_items: number of items.
        found: (m, slots) written.
    """
    slate_size, size = slots.shape[1], blocks.shape[2]
    logits, zero = np.empty((slate_size, size), np.float32), np.zeros(size, np.float32)
    at = np.empty(slate_size, dtype=np.int64)
    best = np.full(found.shape, -np.inf, dtype=np.float32)
    found[:] = 0
    for number in range(blocks.shape[0]):
        start = number * size
        held = min(size, n_items - start)
        for row in range(slots.shape[0]):
            affine(logits, zero, slots[row], blocks[number])
            largest_of_rows(logits, held, at)
            for slot in range(slate_size):
                if logits[slot, at[slot]] > best[row, slot]:
                    best[row, slot] = logits[slot, at[slot]]
                    found[row, slot] = start + at[slot]


def best_items(slots: Tensor, table: Tensor) -> Tensor:
    """Item (m, slots) of ``table`` (items, dim) with the largest product with each slot.

    ``slots`` is (m, slots, dim).
    """
    found = torch.empty(slots.shape[:2], dtype=torch.int64)
    _find_best(slots.contiguous().numpy(), _in_blocks(table), len(table), found.numpy())
    return found


class GeMSArrays(NamedTuple):
    """The decoder of a slate VAE, and its item table in blocks.

    Attributes:
        first: layer of the decoder.
        second: layer of the decoder.
        slots: layer to the slots' vectors.
        blocks: (blocks, dim, block of items), the item table.
        n_items: number of items; the last block is filled up with zeros.
    """

    first: LayerArrays
    second: LayerArrays
    slots: LayerArrays
    blocks: NDArray[np.float32]
    n_items: int


def decoder_arrays(decoder: nn.Sequential, slate_head: nn.Linear, table: Tensor) -> GeMSArrays:
    """Copies of a decoder of two layers, of the layer to the slots, and of the item table."""
    first, second = linear_layers(decoder)
    layers = layer_arrays(first), layer_arrays(second), layer_arrays(slate_head)
    return GeMSArrays(*layers, _in_blocks(table), len(table))


@ranks(GeMSArrays)
@jit_fused
def _decode(arrays: Any, action: Any, states: Any, seen: Any, slate: Any) -> None:
    """The most likely item of every slot."""
    hidden = from_rectified(arrays.second, rectified(arrays.first, action))
    rectify(hidden)
    slots = from_rectified(arrays.slots, hidden)
    dim = arrays.blocks.shape[1]
    queries = slots[: slate.shape[0] * dim].reshape(1, slate.shape[0], dim)
    _find_best(queries, arrays.blocks, arrays.n_items, slate.reshape(1, -1))
