"""The belief encoder's GRU over slates and clicks, compiled for CPUs, with its gradient.

Compiled are the loop over turns and the look-up of items; projections of the inputs and gradients
of the weights are matrix products over all turns at once. ``torch.nn.GRU`` over ``torch.cat`` of
embedded items and clicks is the reference it is tested against.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gems.compiled import add_product, jit_fused, padded, sigmoid, tanh

_ONE = np.float32(1)


@jit_fused
def look_up(table: Any, slates: Any, clicks: Any, out: Any) -> None:
    """Each item's row of ``table`` followed by its click, slot after slot: (m, slots (dim + 1))."""
    dim = table.shape[1]
    for row in range(slates.shape[0]):
        for slot in range(slates.shape[1]):
            item, at = table[slates[row, slot]], slot * (dim + 1)
            for k in range(dim):
                out[row, at + k] = item[k]
            out[row, at + dim] = clicks[row, slot]


@jit_fused
def _scatter(grad: Any, slates: Any, out: Any) -> None:
    """Gradient of the table (items, dim) from that of ``look_up``'s output."""
    dim = out.shape[1]
    for row in range(slates.shape[0]):
        for slot in range(slates.shape[1]):
            item, at = out[slates[row, slot]], slot * (dim + 1)
            for k in range(dim):
                item[k] += grad[row, at + k]


@jit_fused
def gru_step(x: Any, weight_t: Any, bias: Any, state: Any, hidden: Any, gate: Any) -> None:
    """One turn: ``state`` (H and padding) moves on in place.

    Args:
        x: (3 H,) projected input.
        weight_t: (H and padding, 3 H and padding) hidden weights, transposed.
        bias: (3 H and padding,) hidden bias.
        state: (H and padding,).
        hidden: (3 H and padding,) scratch.
        gate: (3 H and padding,) written: r, z and n.
    """
    width = x.shape[0] // 3
    hidden[:] = bias
    add_product(hidden, state, weight_t)
    for k in range(x.shape[0]):
        gate[k] = x[k] + hidden[k]
    # The last third is not needed yet, but whole vectors are the faster ones.
    for k in range(gate.shape[0]):
        gate[k] = sigmoid(gate[k])
    for k in range(width):
        gate[2 * width + k] = x[2 * width + k] + gate[k] * hidden[2 * width + k]
    for k in range(width):
        z, new = gate[width + k], tanh(gate[2 * width + k])
        gate[2 * width + k] = new
        state[k] = (_ONE - z) * new + z * state[k]


@jit_fused
def _forward(inputs: Any, weight_t: Any, bias: Any, states: Any, gates: Any) -> None:
    """States (n, T, H) and gates r, z, n, hidden part of n (n, T, 4 H) from projected inputs."""
    n, turns, width = states.shape
    state = np.zeros(weight_t.shape[0], dtype=np.float32)
    hidden, gate = np.zeros_like(bias), np.zeros_like(bias)
    for u in range(n):
        state[:] = 0
        for t in range(turns):
            gru_step(inputs[u, t], weight_t, bias, state, hidden, gate)
            for k in range(width):
                states[u, t, k] = state[k]
                gates[u, t, 3 * width + k] = hidden[2 * width + k]
            for k in range(3 * width):
                gates[u, t, k] = gate[k]


@jit_fused
def _backward(grad: Any, weight: Any, states: Any, gates: Any, d_in: Any, d_hid: Any) -> None:
    """Gradients of projected inputs and of projected states (n, T, 3 H) from those of states."""
    n, turns, width = states.shape
    carry = np.zeros(weight.shape[1], dtype=np.float32)
    d_hidden = np.zeros(weight.shape[0], dtype=np.float32)
    before = np.zeros(width, dtype=np.float32)
    for u in range(n):
        carry[:] = 0
        for t in range(turns - 1, -1, -1):
            gate, gx, gh = gates[u, t], d_in[u, t], d_hid[u, t]
            for k in range(width):
                before[k] = states[u, t - 1, k] if t > 0 else np.float32(0)
            for k in range(width):
                r, z = gate[k], gate[width + k]
                new, hid = gate[2 * width + k], gate[3 * width + k]
                d = grad[u, t, k] + carry[k]
                d_new = d * (_ONE - z) * (_ONE - new * new)
                d_hidden[k] = gx[k] = d_new * hid * r * (_ONE - r)
                d_hidden[width + k] = gx[width + k] = d * (before[k] - new) * z * (_ONE - z)
                gx[2 * width + k] = d_new
                d_hidden[2 * width + k] = d_new * r
                carry[k] = d * z
            for k in range(3 * width):
                gh[k] = d_hidden[k]
            add_product(carry, d_hidden, weight)


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
        shown, clicked = slates.flatten(0, 1), clicks.flatten(0, 1)
        inputs = torch.empty(len(shown), weight_in.shape[1])
        look_up(table.detach().numpy(), shown.numpy(), clicked.numpy(), inputs.numpy())
        projected = torch.addmm(bias_in, inputs, weight_in.t()).view(*slates.shape[:2], -1)
        width = weight.shape[1]
        states = torch.empty(*slates.shape[:2], width)
        gates = torch.empty(*slates.shape[:2], 4 * width)
        recurrent = padded(weight.t()).numpy(), padded(bias).numpy()
        _forward(projected.detach().numpy(), *recurrent, states.numpy(), gates.numpy())
        ctx.save_for_backward(shown, inputs, table, weight_in, weight, states, gates)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        shown, inputs, table, weight_in, weight, states, gates = ctx.saved_tensors
        d_inputs = torch.empty(*states.shape[:2], len(weight))
        d_hidden = torch.empty_like(d_inputs)
        arrays = (grads[0].contiguous(), padded(weight), states.detach(), gates, d_inputs, d_hidden)
        _backward(*(array.numpy() for array in arrays))
        before = nn.functional.pad(states, (0, 0, 1, 0))[:, :-1].flatten(0, 1)
        d_inputs, d_hidden = d_inputs.flatten(0, 1), d_hidden.flatten(0, 1)
        d_table = torch.zeros_like(table)
        _scatter((d_inputs @ weight_in).numpy(), shown.numpy(), d_table.numpy())
        d_weight_in, d_weight = d_inputs.t() @ inputs, d_hidden.t() @ before
        return None, None, d_table, d_weight_in, d_weight, d_inputs.sum(0), d_hidden.sum(0)


def gru_states(gru: nn.GRU, table: Tensor, slates: Tensor, clicks: Tensor) -> Tensor:
    """States (n, T, H) of a one-layer GRU on the CPU, from a state of 0.

    Args:
        gru: its weights, for inputs of slots x (dim + 1).
        table: (items, dim) embeddings.
        slates: (n, T, slots) int64.
        clicks: (n, T, slots) float32.
    """
    return _States.apply(slates.contiguous(), clicks.contiguous(), table, *gru.all_weights[0])
