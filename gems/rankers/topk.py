"""Top-k ranker: the items with the largest dot product with the action (Section 6)."""

import torch
from torch import Tensor, nn

from gems.selection import top_k_rows
from gems.simulator.kernels import SLATE_SIZE


def top_items(values: Tensor) -> Tensor:
    """Indices (n, slate size) of the largest of ``values`` (n, items), in descending order."""
    if values.device.type != "cpu":
        return values.topk(SLATE_SIZE, dim=-1).indices
    items = torch.empty(len(values), SLATE_SIZE, dtype=torch.int64)
    top_k_rows(values.detach().contiguous().numpy(), values.shape[1], items.numpy())
    return items


class TopK(nn.Module):
    """Ranks items by their dot product with the action; never trained."""

    table: Tensor
    center: Tensor
    scale: Tensor

    def __init__(self, table: Tensor) -> None:
        """Bounds of the action: minima and maxima of the columns of ``table`` (items, D)."""
        super().__init__()
        low, high = table.min(0).values, table.max(0).values
        self.register_buffer("table", table)
        self.register_buffer("center", (high + low) / 2)
        self.register_buffer("scale", (high - low) / 2)

    def rank(self, actions: Tensor) -> Tensor:
        """Slates (n, slate size) of actions (n, D)."""
        return top_items(actions @ self.table.t())
