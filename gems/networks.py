"""The one network that agents and rankers share."""

from typing import cast

from torch import Tensor, nn


class MLP(nn.Sequential):
    """One hidden layer with ReLU, as every network of the agents (Section 6)."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        """PyTorch's initialisation."""
        super().__init__(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    @property
    def first(self) -> nn.Linear:
        """The layer from inputs to hidden units."""
        return cast(nn.Linear, self[0])

    @property
    def last(self) -> nn.Linear:
        """The layer from hidden units to outputs."""
        return cast(nn.Linear, self[2])

    def hidden(self, inputs: Tensor) -> Tensor:
        """Hidden units of ``inputs``."""
        return self.first(inputs).relu()
