"""Modules that several agents use: a network, and item tables that bound actions."""

from typing import Any, cast

from torch import Tensor, nn

from gems.agents.base import column_bounds


class MLP(nn.Sequential):
    """A network with one hidden layer of ReLU units (Section 6)."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    @property
    def first(self) -> nn.Linear:
        return cast(nn.Linear, self[0])

    @property
    def last(self) -> nn.Linear:
        return cast(nn.Linear, self[2])

    def hidden(self, inputs: Tensor) -> Tensor:
        return self.first(inputs).relu()

    def compiled(self) -> Any:
        """Arrays for compiled episodes."""
        from gems.kernels.episodes import net_arrays

        return net_arrays(self)


class ItemTable(nn.Module):
    """A fixed item table (items, D), whose columns' minima and maxima bound actions."""

    table: Tensor
    center: Tensor
    scale: Tensor

    def __init__(self, table: Tensor, slate_size: int, vectors: int = 1) -> None:
        """Bound actions (``vectors`` x D,), which hold that many vectors one after the other."""
        super().__init__()
        self.slate_size = slate_size
        center, scale = column_bounds(table)
        self.register_buffer("table", table)
        self.register_buffer("center", center.repeat(vectors))
        self.register_buffer("scale", scale.repeat(vectors))
