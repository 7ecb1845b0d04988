"""The top-k ranker of SAC+TopK (Section 6)."""

from typing import Any

from torch import Tensor

from gems.agents.base import top_items
from gems.agents.networks import ItemTable


class TopK(ItemTable):
    """Ranks items by the dot product of the action and their row of the item table."""

    def rank(self, actions: Tensor) -> Tensor:
        """Slates (n, slate size) of actions (n, D)."""
        return top_items(actions @ self.table.t(), self.slate_size)

    def compiled(self) -> Any:
        """Arrays for compiled episodes."""
        from gems.kernels.topk import topk_arrays

        return topk_arrays(self.table)
