"""The top-k ranker of SAC+TopK (Section 6)."""

from typing import Any

from torch import Tensor, nn

from gems.agents.base import column_bounds, top_items


class TopK(nn.Module):
    """Ranks items by the dot product of the action and their row of a fixed item table.

    The minima and maxima of the columns of ``table`` (items, D) bound the action.
    """

    table: Tensor
    center: Tensor
    scale: Tensor

    def __init__(self, table: Tensor, slate_size: int) -> None:
        super().__init__()
        self.slate_size = slate_size
        center, scale = column_bounds(table)
        self.register_buffer("table", table)
        self.register_buffer("center", center)
        self.register_buffer("scale", scale)

    def rank(self, actions: Tensor) -> Tensor:
        """Slates (n, slate size) of actions (n, D)."""
        return top_items(actions @ self.table.t(), self.slate_size)

    def compiled(self) -> Any:
        """Arrays for compiled episodes."""
        from gems.kernels.topk import topk_arrays

        return topk_arrays(self.table)
