"""Cross-entropy over items, fused with the product that makes its logits."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gems.kernels.compiled import exp, jit_reordered, log
from gems.kernels.selection import largest_of_rows

# Logits of a block of rows stay in the cache; those of a batch of 256 slates would be 10 MB.
BLOCK_LOGITS = 128_000
# Fewer rows would make no matrix product of it.
LEAST_ROWS = 64


@jit_reordered
def _cross_entropy(logits: Any, targets: Any) -> Any:
    """Sum of the cross-entropies of ``targets`` (m,); ``logits`` become their gradients."""
    loss, best = np.float64(0), np.empty(logits.shape[0], dtype=np.int64)
    largest_of_rows(logits, logits.shape[1], best)
    for row in range(logits.shape[0]):
        scores, target = logits[row], targets[row]
        greatest, wanted, total = scores[best[row]], scores[target], np.float32(0)
        for item in range(scores.shape[0]):
            scores[item] = exp(scores[item] - greatest)
            total += scores[item]
        share = np.float32(1) / total
        for item in range(scores.shape[0]):
            scores[item] *= share
        scores[target] -= np.float32(1)
        loss += np.float64(log(total)) + np.float64(greatest - wanted)
    return loss


class _ItemCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of ``targets`` under softmax(``slots`` x ``table``)."""

    @staticmethod
    def forward(ctx: Any, slots: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        grad, loss = torch.empty_like(slots), 0.0
        rows = max(LEAST_ROWS, BLOCK_LOGITS // len(table))
        scratch = slots.new_empty(min(rows, len(slots)), len(table))
        for block, wanted, out in zip(
            slots.detach().split(rows), targets.split(rows), grad.split(rows), strict=True
        ):
            logits = torch.mm(block, table.t(), out=scratch[: len(block)])
            loss += _cross_entropy(logits.numpy(), wanted.numpy())
            if ctx.needs_input_grad[0]:
                torch.mm(logits, table, out=out)
        ctx.save_for_backward(grad)
        return slots.new_tensor(loss / len(slots))

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
