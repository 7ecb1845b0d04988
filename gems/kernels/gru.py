"""The belief encoder's GRU over slates and clicks, compiled for CPUs, with its gradient.

Compiled are the loop over turns and the look-up of items; projections of the inputs and gradients
of the weights are matrix products over all turns at once. ``torch.nn.GRU`` over ``torch.cat`` of
embedded items and clicks is the reference it is tested against.

Gates are (n, W) matrices, W being the width H of the state and padding, so that loops over all
users fill the vector registers; turns come first everywhere inside.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gems.kernels.compiled import affine, jit_fused, padded, sigmoid, tanh

_ONE = np.float32(1)


@jit_fused
def look_up(table: Any, slates: Any, clicks: Any, out: Any) -> None:
    """Each item's row of ``table`` followed by its click, slot after slot.

    Args:
        table: (items, dim).
        slates: (n, T, slots).
        clicks: (n, T, slots).
        out: (T, n, slots (dim + 1)) written.
    """
    dim = table.shape[1]
    for turn in range(slates.shape[1]):
        for u in range(slates.shape[0]):
            for slot in range(slates.shape[2]):
                item, at = table[slates[u, turn, slot]], slot * (dim + 1)
                for k in range(dim):
                    out[turn, u, at + k] = item[k]
                out[turn, u, at + dim] = clicks[u, turn, slot]


@jit_fused
def _scatter(grad: Any, slates: Any, out: Any) -> None:
    """Gradient of the table (items, dim) from that of ``look_up``'s output."""
    dim = out.shape[1]
    for turn in range(slates.shape[1]):
        for u in range(slates.shape[0]):
            for slot in range(slates.shape[2]):
                item, at = out[slates[u, turn, slot]], slot * (dim + 1)
                for k in range(dim):
                    item[k] += grad[turn, u, at + k]


def _planes(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack([padded(part) for part in parts])


def by_gate(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden weights, transposed, and biases as ``gru_step`` takes them.

    Args:
        weight: (3 H, H).
        bias: (3 H,).
    """
    return _planes(part.t() for part in weight.chunk(3)), _planes(bias.chunk(3))


@jit_fused
def gru_step(x: Any, weights: Any, bias: Any, states: Any, gates: Any) -> None:
    """One turn of n users: ``states`` (n, W) move on in place.

    Args:
        x: (n, 3 H) projected inputs.
        weights: (3, H and padding, W) hidden weights by gate, transposed.
        bias: (3, W).
        states: (n, W).
        gates: (4, n, W) written: r, z, the hidden part of n, and n, whose padding must be 0.
    """
    n, width = x.shape[0], x.shape[1] // 3
    for gate in range(3):
        affine(gates[gate], bias[gate], states, weights[gate])
    for u in range(n):
        for k in range(width):
            gates[0, u, k] += x[u, k]
            gates[1, u, k] += x[u, width + k]
            gates[3, u, k] = x[u, 2 * width + k]
    planes, state = gates.reshape(4, -1), states.reshape(-1)
    r, z, hidden, new = planes[0], planes[1], planes[2], planes[3]
    for k in range(r.shape[0]):
        r[k] = sigmoid(r[k])
    for k in range(z.shape[0]):
        z[k] = sigmoid(z[k])
    for k in range(new.shape[0]):
        new[k] = tanh(new[k] + r[k] * hidden[k])
    for k in range(state.shape[0]):
        state[k] = (_ONE - z[k]) * new[k] + z[k] * state[k]


@jit_fused
def _forward(x: Any, weights: Any, bias: Any, states: Any, gates: Any) -> None:
    """States (T + 1, n, W), the first of them given, and gates (T, 4, n, W)."""
    for turn in range(x.shape[0]):
        states[turn + 1] = states[turn]
        gru_step(x[turn], weights, bias, states[turn + 1], gates[turn])


@jit_fused
def _backward(grad: Any, weights: Any, states: Any, gates: Any, d_in: Any, d_hid: Any) -> None:
    """Gradients of projected inputs and of projected states.

    Args:
        grad: (n, T, H) that of the states.
        weights: (3, H and padding, W) hidden weights by gate.
        states: as in ``_forward``.
        gates: likewise.
        d_in: (T, n, 3 H) written.
        d_hid: (T, n, 3 H) written.
    """
    n, turns, width = grad.shape
    carried = np.zeros(states.shape[1:], dtype=np.float32)
    d_gates = np.zeros((4, *states.shape[1:]), dtype=np.float32)
    carry, d_planes = carried.reshape(-1), d_gates.reshape(4, -1)
    d_r, d_z, d_hidden, d_new = d_planes[0], d_planes[1], d_planes[2], d_planes[3]
    for turn in range(turns - 1, -1, -1):
        planes, before = gates[turn].reshape(4, -1), states[turn].reshape(-1)
        r, z, hidden, new = planes[0], planes[1], planes[2], planes[3]
        for u in range(n):
            for k in range(width):
                carried[u, k] += grad[u, turn, k]
        # One output a loop: more would need too many checks that arrays do not overlap.
        for k in range(carry.shape[0]):
            d_z[k] = carry[k] * (before[k] - new[k]) * z[k] * (_ONE - z[k])
        for k in range(carry.shape[0]):
            d_new[k] = carry[k] * (_ONE - z[k]) * (_ONE - new[k] * new[k])
        for k in range(carry.shape[0]):
            d_r[k] = d_new[k] * hidden[k] * r[k] * (_ONE - r[k])
        for k in range(carry.shape[0]):
            d_hidden[k] = d_new[k] * r[k]
        for k in range(carry.shape[0]):
            carry[k] *= z[k]
        for gate in range(3):
            affine(carried, carried, d_gates[gate], weights[gate])
        for u in range(n):
            for k in range(width):
                d_in[turn, u, k] = d_hid[turn, u, k] = d_gates[0, u, k]
                d_in[turn, u, width + k] = d_hid[turn, u, width + k] = d_gates[1, u, k]
                d_in[turn, u, 2 * width + k] = d_gates[3, u, k]
                d_hid[turn, u, 2 * width + k] = d_gates[2, u, k]


class _States(torch.autograd.Function):
    """States of a GRU over slates and clicks; the state starts at 0."""

    @staticmethod
    def forward(
        ctx: Any,
        slates: Tensor,
        clicks: Tensor,
        table: Tensor,
        weight_in: Tensor,
        weight: Tensor,
        bias_in: Tensor,
        bias: Tensor,
    ) -> Tensor:
        n, turns, _ = slates.shape
        inputs = torch.empty(turns, n, weight_in.shape[1])
        look_up(*(array.numpy() for array in (table.detach(), slates, clicks, inputs)))
        inputs = inputs.flatten(0, 1)
        projected = torch.addmm(bias_in, inputs, weight_in.t()).view(turns, n, len(bias))
        weights, biases = by_gate(weight, bias)
        states = torch.zeros(turns + 1, n, weights.shape[2])
        gates = torch.zeros(turns, 4, n, weights.shape[2])
        arrays = projected.detach(), weights, biases, states, gates
        _forward(*(array.numpy() for array in arrays))
        ctx.save_for_backward(slates, inputs, table, weight_in, weight, states, gates)
        return states[1:, :, : weight.shape[1]].transpose(0, 1).contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        slates, inputs, table, weight_in, weight, states, gates = ctx.saved_tensors
        (turns, _, n, _), width = gates.shape, weight.shape[1]
        d_in = torch.empty(turns, n, 3 * width)
        d_hid = torch.empty_like(d_in)
        arrays = grads[0].contiguous(), _planes(weight.chunk(3)), states, gates, d_in, d_hid
        _backward(*(array.numpy() for array in arrays))
        d_in, d_hid = d_in.flatten(0, 1), d_hid.flatten(0, 1)
        before = states[:-1].flatten(0, 1)[:, :width]
        d_table, d_inputs = torch.zeros_like(table), (d_in @ weight_in).view(turns, n, -1)
        _scatter(*(array.numpy() for array in (d_inputs, slates, d_table)))
        d_weight_in, d_weight = d_in.t() @ inputs, d_hid.t() @ before
        return None, None, d_table, d_weight_in, d_weight, d_in.sum(0), d_hid.sum(0)


def gru_states(gru: nn.GRU, table: Tensor, slates: Tensor, clicks: Tensor) -> Tensor:
    """States (n, T, H) of a one-layer GRU on the CPU, from a state of 0.

    Args:
        gru: its weights, for inputs of slots x (dim + 1).
        table: (items, dim) embeddings.
        slates: (n, T, slots) int64.
        clicks: (n, T, slots) float32.
    """
    return _States.apply(slates.contiguous(), clicks.contiguous(), table, *gru.all_weights[0])


class GRUTurns:
    """The same GRU turn by turn, without gradients."""

    def __init__(self, gru: nn.GRU, table: Tensor, n: int) -> None:
        """Start ``n`` users at a state of 0; the weights must not change until they end."""
        weight_in, weight, bias_in, bias = (part.detach() for part in gru.all_weights[0])
        self._table, self._width = table.detach().numpy(), weight.shape[1]
        self._weight_in, self._bias_in = weight_in.t(), bias_in
        self._weights, self._biases = (part.numpy() for part in by_gate(weight, bias))
        self._inputs = torch.empty(1, n, weight_in.shape[1])
        self._states = torch.zeros(n, self._biases.shape[1])
        self._gates = np.zeros((4, *self._states.shape), dtype=np.float32)

    def observe(self, slates: NDArray[np.int64], clicks: NDArray[np.bool_]) -> Tensor:
        """States (n, H) after one more slate with its clicks, both (n, slots)."""
        look_up(self._table, slates[:, None], clicks[:, None], self._inputs.numpy())
        x = torch.addmm(self._bias_in, self._inputs[0], self._weight_in)
        gru_step(x.numpy(), self._weights, self._biases, self._states.numpy(), self._gates)
        return self._states[:, : self._width].clone()
