"""Top-k: the largest of values, and the items with the largest dot product with an action."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gems.kernels.compiled import add_product, jit_fused, padded
from gems.kernels.episodes import Array, ranks
from gems.kernels.selection import top_k, top_k_rows


def top_items(values: Tensor, k: int) -> Tensor:
    """Indices (n, k) of the largest of ``values`` (n, items), in descending order."""
    items = torch.empty(len(values), k, dtype=torch.int64)
    top_k_rows(values.detach().contiguous().numpy(), values.shape[1], items.numpy())
    return items


class TopKArrays(NamedTuple):
    """An item table with one row a dimension."""

    by_dim: Array
    n_items: int


def topk_arrays(table: Tensor) -> TopKArrays:
    """A copy of the item table (items, D)."""
    return TopKArrays(padded(table.t()).numpy(), len(table))


@ranks(TopKArrays)
@jit_fused
def _rank(arrays: Any, action: Any, states: Any, seen: Any, slate: Any) -> None:
    """The items with the largest dot product with the action."""
    values = np.zeros(arrays.by_dim.shape[1], dtype=np.float32)
    add_product(values, action, arrays.by_dim)
    top_k(values[: arrays.n_items], slate)
