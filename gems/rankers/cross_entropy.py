"""Cross-entropy over items, fused with the product that makes its logits."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# Logits of a block of rows stay in the cache; those of a batch of 256 slates would be 10 MB.
BLOCK_LOGITS = 128_000
# Fewer rows would make no matrix product of it.
LEAST_ROWS = 64


class _ItemCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of ``targets`` under softmax(``slots`` x ``table``)."""

    @staticmethod
    def forward(ctx: Any, slots: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        grad = torch.empty_like(slots)
        rows = max(LEAST_ROWS, BLOCK_LOGITS // len(table))
        scratch = slots.new_empty(min(rows, len(slots)), len(table))
        loss = slots.new_zeros(())
        for block, wanted, out in zip(
            slots.split(rows), targets.split(rows), grad.split(rows), strict=True
        ):
            logits = torch.mm(block, table.t(), out=scratch[: len(block)])
            log_prob = torch.log_softmax(logits, dim=-1)
            loss -= log_prob.gather(1, wanted.unsqueeze(1)).sum()
            if ctx.needs_input_grad[0]:
                torch.mm(log_prob.exp_(), table, out=out)
        if ctx.needs_input_grad[0]:
            grad -= table[targets]
        ctx.save_for_backward(grad)
        return loss / len(slots)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = ctx.saved_tensors
        return grad * (grads[0] / len(grad)), None, None


def item_cross_entropy(slots: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of the items ``targets`` (m,) with logits ``slots`` x ``table``.

    The same as ``functional.cross_entropy(slots @ table.t(), targets)`` with a constant table,
    without writing all logits to memory.

    Args:
        slots: (m, dim).
        table: (items, dim); gets no gradient.
        targets: (m,) int64.
    """
    if slots.device.type != "cpu":
        return functional.cross_entropy(slots @ table.detach().t(), targets)
    return _ItemCrossEntropy.apply(slots, table.detach(), targets)
