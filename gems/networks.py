"""The one network that agents and rankers share."""

from typing import Any, cast

import torch
from torch import Tensor, nn

# Hidden units of a block of rows stay in the cache from the first layer to the last.
BLOCK_ROWS = 400


class _Blocked(torch.autograd.Function):
    """Hidden layer with ReLU and output layer, block by block."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, first: Tensor, bias: Tensor, last: Tensor, last_bias: Tensor
    ) -> Tensor:
        hidden = inputs.new_empty(len(inputs), len(first))
        outputs = inputs.new_empty(len(inputs), len(last))
        blocks = (part.split(BLOCK_ROWS) for part in (inputs, hidden, outputs))
        for x, h, out in zip(*blocks, strict=True):
            torch.addmm(bias, x, first.t(), out=h).relu_()
            torch.addmm(last_bias, h, last.t(), out=out)
        ctx.save_for_backward(inputs, hidden, first, last)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, hidden, first, last = ctx.saved_tensors
        grad = grads[0]
        d_inputs = torch.empty_like(inputs) if ctx.needs_input_grad[0] else None
        d_first, d_last = torch.zeros_like(first), torch.zeros_like(last)
        d_bias = first.new_zeros(len(first))
        scratch = hidden.new_empty(min(BLOCK_ROWS, len(hidden)), len(first))
        for start in range(0, len(inputs), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            x, h, g = inputs[rows], hidden[rows], grad[rows]
            d_hidden = torch.mm(g, last, out=scratch[: len(g)])
            torch.ops.aten.threshold_backward(d_hidden, h, 0, grad_input=d_hidden)
            if d_inputs is not None:
                torch.mm(d_hidden, first, out=d_inputs[rows])
            d_first.addmm_(d_hidden.t(), x)
            d_bias += d_hidden.sum(0)
            d_last.addmm_(g.t(), h)
        return d_inputs, d_first, d_bias, d_last, grad.sum(0)


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

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (m, outputs) of ``inputs`` (m, inputs)."""
        if inputs.device.type != "cpu":
            return super().forward(inputs)
        parameters = self.first.weight, self.first.bias, self.last.weight, self.last.bias
        return _Blocked.apply(inputs, *parameters)

    def hidden(self, inputs: Tensor) -> Tensor:
        """Hidden units of ``inputs``."""
        return self.first(inputs).relu()
