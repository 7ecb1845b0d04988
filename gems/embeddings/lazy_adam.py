"""Adam of a large table at the price of the rows that a batch looks up (Section 4)."""

import torch
from torch import Tensor

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
# What a row without gradients moves by in a step, relative to the step before.
_RATIO = BETA1 / BETA2**0.5
# After so many steps the corrections of both moments' bias are 1 in float32.
_UNBIASED = 20_000


def _drifts() -> Tensor:
    """By step s: how far a row whose last gradient came at s moves from then on, in m / sqrt(v).

    That is the sum over all j > 0 of ratio^j x correction(s + j), made from the last one backwards.
    """
    steps = torch.arange(_UNBIASED + 1, dtype=torch.float64)
    corrections = (1 - BETA2**steps).sqrt() / (1 - BETA1**steps)
    drifts = torch.full_like(steps, _RATIO / (1 - _RATIO))
    for step in range(_UNBIASED - 1, -1, -1):
        drifts[step] = _RATIO * (corrections[step + 1] + drifts[step + 1])
    return drifts


class LazyAdam(torch.optim.Optimizer):
    """``torch.optim.Adam`` of an embedding with sparse gradients, whose rows wait for their turn.

    Adam moves a row also in the steps that give it no gradient, by its decaying moments. ``settle``
    makes up for these moves, whose sum is known but for a part in the order of eps / sqrt(v),
    before the row is looked up again; rows that are read without it lag.
    """

    def __init__(self, table: Tensor, lr: float) -> None:
        """Of ``table`` (rows, dim), with PyTorch's default betas and eps."""
        super().__init__([table], {})
        self._table, self._lr = table, lr
        self._drifts = _drifts().to(table.device)
        m, v = torch.zeros_like(table), torch.zeros_like(table)
        # Of the table's type, which loading a state makes of it anyway: exact up to 2^24 steps.
        self.state[table] = {"step": 0, "m": m, "v": v, "settled": torch.zeros_like(table[:, 0])}

    @torch.no_grad()
    def settle(self, rows: Tensor) -> None:
        """Move ``rows`` (any number, also repeated) by the steps since they were settled last."""
        rows = rows.unique()
        state = self.state[self._table]
        m, v, since = (state[name][rows] for name in ("m", "v", "settled"))
        since = since.long()
        waited = (state["step"] - since).double()
        ahead = self._drifts[min(state["step"], _UNBIASED)]
        drift = self._drifts[since.clamp(max=_UNBIASED)] - _RATIO**waited * ahead
        # Exact just after ``since``, where the sum has most of its weight.
        eps = EPS * (1 - BETA2 ** since.double()).sqrt()
        drift, eps, fade1, fade2 = (
            factor.float().unsqueeze(1) for factor in (drift, eps, BETA1**waited, BETA2**waited)
        )
        # A row that never had a gradient has no moments to divide.
        self._table[rows] -= self._lr * drift * m / (v.sqrt() + eps).clamp(min=1e-30)
        state["m"][rows], state["v"][rows] = m * fade1, v * fade2
        state["settled"][rows] = state["step"]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of Adam by the sparse gradient of the table, whose rows have been settled."""
        assert self._table.grad is not None
        gradient, state = self._table.grad.coalesce(), self.state[self._table]
        rows, g = gradient.indices()[0], gradient.values()
        state["step"] += 1
        m = BETA1 * state["m"][rows] + (1 - BETA1) * g
        v = BETA2 * state["v"][rows] + (1 - BETA2) * g.square()
        unbiased = m / (1 - BETA1 ** state["step"]), v / (1 - BETA2 ** state["step"])
        self._table[rows] -= self._lr * unbiased[0] / (unbiased[1].sqrt() + EPS)
        state["m"][rows], state["v"][rows] = m, v
        state["settled"][rows] = state["step"]
