"""The recurrence of a GRU, compiled for CPUs, with its gradient.

Only the loop over turns is compiled; projections of the inputs and gradients of the weights stay
matrix products over all turns at once. ``torch.nn.GRU`` is the reference it is tested against.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn
from torch.nn import functional

_jit = njit(cache=True, nogil=True, error_model="numpy")


@_jit
def _sigmoid(x: Any) -> Any:
    return np.float32(1) / (np.float32(1) + np.exp(-x))


@_jit
def _forward(inputs: Any, weight_t: Any, bias: Any, states: Any, gates: Any) -> None:
    """States (n, T, H) and gates r, z, n, hidden part of n (n, T, 4 H) from projected inputs."""
    n, turns, width = states.shape
    hidden = np.empty(3 * width, dtype=np.float32)
    state = np.empty(width, dtype=np.float32)
    for u in range(n):
        state[:] = 0
        for t in range(turns):
            hidden[:] = bias
            for j in range(width):
                for k in range(3 * width):
                    hidden[k] += state[j] * weight_t[j, k]
            x, gate = inputs[u, t], gates[u, t]
            for k in range(width):
                r = _sigmoid(x[k] + hidden[k])
                z = _sigmoid(x[width + k] + hidden[width + k])
                new = np.tanh(x[2 * width + k] + r * hidden[2 * width + k])
                state[k] = (np.float32(1) - z) * new + z * state[k]
                gate[k], gate[width + k] = r, z
                gate[2 * width + k], gate[3 * width + k] = new, hidden[2 * width + k]
            states[u, t] = state


@_jit
def _backward(grad: Any, weight: Any, states: Any, gates: Any, d_in: Any, d_hid: Any) -> None:
    """Gradients of projected inputs and of projected states (n, T, 3 H) from those of states."""
    n, turns, width = states.shape
    carry = np.empty(width, dtype=np.float32)
    one = np.float32(1)
    for u in range(n):
        carry[:] = 0
        for t in range(turns - 1, -1, -1):
            gate, gx, gh = gates[u, t], d_in[u, t], d_hid[u, t]
            for k in range(width):
                r, z = gate[k], gate[width + k]
                new, hid = gate[2 * width + k], gate[3 * width + k]
                before = states[u, t - 1, k] if t > 0 else np.float32(0)
                d = grad[u, t, k] + carry[k]
                d_new = d * (one - z) * (one - new * new)
                gx[k] = gh[k] = d_new * hid * r * (one - r)
                gx[width + k] = gh[width + k] = d * (before - new) * z * (one - z)
                gx[2 * width + k] = d_new
                gh[2 * width + k] = d_new * r
                carry[k] = d * z
            for j in range(3 * width):
                for k in range(width):
                    carry[k] += gh[j] * weight[j, k]


class _Recurrence(torch.autograd.Function):
    """States of a GRU from its projected inputs; the state starts at 0."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        n, turns, triple = inputs.shape
        states = torch.empty(n, turns, triple // 3)
        gates = torch.empty(n, turns, triple // 3 * 4)
        weight_t = weight.detach().t().contiguous().numpy()
        projected = inputs.detach().numpy()
        _forward(projected, weight_t, bias.detach().numpy(), states.numpy(), gates.numpy())
        ctx.save_for_backward(weight, states, gates)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, states, gates = ctx.saved_tensors
        d_inputs = torch.empty(*states.shape[:2], 3 * states.shape[2])
        d_hidden = torch.empty_like(d_inputs)
        _backward(
            grads[0].contiguous().numpy(),
            weight.detach().numpy(),
            states.detach().numpy(),
            gates.numpy(),
            d_inputs.numpy(),
            d_hidden.numpy(),
        )
        before = functional.pad(states, (0, 0, 1, 0))[:, :-1]
        d_weight = d_hidden.flatten(0, 1).t() @ before.flatten(0, 1)
        return d_inputs, d_weight, d_hidden.sum((0, 1))


def run_gru(gru: nn.GRU, inputs: Tensor) -> Tensor:
    """States (n, T, H) of a one-layer GRU over ``inputs`` (n, T, I), from a state of 0."""
    if inputs.device.type != "cpu":
        return gru(inputs)[0]
    weight_in, weight_hidden, bias_in, bias_hidden = gru.all_weights[0]
    projected = functional.linear(inputs, weight_in, bias_in)
    return _Recurrence.apply(projected, weight_hidden, bias_hidden)
