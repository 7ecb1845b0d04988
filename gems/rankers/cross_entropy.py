"""Cross-entropy over items, fused with the product that makes its logits."""

from typing import Any

import torch
from torch import Tensor

# Logits of a block of rows stay in the cache; those of a batch of 256 slates would be 10 MB.
BLOCK_LOGITS = 128_000


class _ItemCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of ``targets`` under softmax(``slots`` x ``table``)."""

    @staticmethod
    def forward(ctx: Any, slots: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        grad = torch.empty_like(slots)
        loss = slots.new_zeros(())
        rows = max(1, BLOCK_LOGITS // len(table))
        for block, wanted, out in zip(
            slots.split(rows), targets.split(rows), grad.split(rows), strict=True
        ):
            logits, target = block @ table.t(), table[wanted]
            top = logits.max(-1, keepdim=True).values
            weights = logits.sub_(top).exp_()
            total = weights.sum(-1, keepdim=True)
            loss += (top + total.log()).sum() - (block * target).sum()
            if ctx.needs_input_grad[0]:
                torch.sub(weights.div_(total) @ table, target, out=out)
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
    return _ItemCrossEntropy.apply(slots, table.detach(), targets)
