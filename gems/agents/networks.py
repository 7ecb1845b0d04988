"""The network that all agents use."""

from typing import Any, cast

from torch import Tensor, nn


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
