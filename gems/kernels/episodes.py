"""Whole episodes of one user, compiled: how training collects them on a CPU.

A policy is passed as a named tuple of arrays, once an episode. Which code chooses the slates
depends on the tuple's type: the module that defines it registers a function with ``chooses``, that
of a ranker with ``ranks``. ``Policy.act`` says what they compute.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray
from torch import Tensor, nn

from gems.kernels.compiled import LANES, add_product, jit, jit_fused, padded
from gems.kernels.gru import by_gate, gru_step, look_up
from gems.kernels.simulator import play_user, scratch_for

Array = NDArray[np.float32]


class BeliefArrays(NamedTuple):
    """A belief encoder: its item table and a GRU of ``width``, padded as in ``gru_step``."""

    width: int
    table: Array
    weight_in: Array
    bias_in: Array
    weights: Array
    bias: Array


class LayerArrays(NamedTuple):
    """A linear layer: weights (inputs, outputs) and bias (outputs,), both padded."""

    weight: Array
    bias: Array


class NetArrays(NamedTuple):
    """A hidden layer with ReLU and an output layer."""

    first: LayerArrays
    last: LayerArrays


def layer_arrays(layer: nn.Linear) -> LayerArrays:
    """Copy a layer."""
    # Inputs are another layer's padded outputs.
    weight = padded(layer.weight.t(), rows=LANES)
    return LayerArrays(weight.numpy(), padded(layer.bias).numpy())


def linear_layers(net: nn.Sequential) -> list[nn.Linear]:
    """The linear layers of a network in their order."""
    return [layer for layer in net if isinstance(layer, nn.Linear)]


def net_arrays(net: nn.Sequential) -> NetArrays:
    """Copy a network of two linear layers with a ReLU between them."""
    return NetArrays(*(layer_arrays(layer) for layer in linear_layers(net)))


def belief_arrays(table: Tensor, gru: nn.GRU) -> BeliefArrays:
    """Copy a belief encoder; the item table is shared."""
    weight_in, weight, bias_in, bias = gru.all_weights[0]
    arrays = padded(weight_in.t()), padded(bias_in), *by_gate(weight, bias)
    rows = table.detach().numpy()
    return BeliefArrays(gru.hidden_size, rows, *(array.numpy() for array in arrays))


@jit_fused
def observe(belief: Any, slate: Any, clicks: Any, state: Any) -> None:
    """Move ``state`` (H and padding,) on by one observation."""
    inputs = np.zeros(belief.weight_in.shape[0], dtype=np.float32)
    shown, clicked = slate.reshape(1, 1, -1), clicks.reshape(1, 1, -1)
    look_up(belief.table, shown, clicked, inputs.reshape(1, 1, -1))
    projected = belief.bias_in.copy()
    add_product(projected, inputs, belief.weight_in)
    gates = np.zeros((4, 1, belief.bias.shape[1]), dtype=np.float32)
    projected = projected[: 3 * belief.width].reshape(1, -1)
    gru_step(projected, belief.weights, belief.bias, state.reshape(1, -1), gates)


@jit_fused
def rectify(values: Any) -> None:
    """ReLU in place."""
    for k in range(values.shape[0]):
        values[k] = max(values[k], np.float32(0))


@jit_fused
def rectified(layer: Any, inputs: Any) -> Any:
    """Outputs of a layer with ReLU."""
    out = layer.bias.copy()
    add_product(out, inputs, layer.weight)
    rectify(out)
    return out


@jit_fused
def from_rectified(layer: Any, inputs: Any) -> Any:
    """Outputs of a layer whose inputs are often 0: the rows that count are put side by side."""
    out = layer.bias.copy()
    rows = np.empty(inputs.shape[0] + 4, dtype=np.int64)
    count = 0
    for j in range(inputs.shape[0]):
        rows[count] = j
        count += inputs[j] > 0
    for left in range(count, count + 3):
        rows[left] = rows[0]
    for at in range(0, count, 4):
        i, j, k, m = rows[at], rows[at + 1], rows[at + 2], rows[at + 3]
        a = inputs[i]
        b = inputs[j] if at + 1 < count else np.float32(0)
        c = inputs[k] if at + 2 < count else np.float32(0)
        d = inputs[m] if at + 3 < count else np.float32(0)
        p, q, r, s = layer.weight[i], layer.weight[j], layer.weight[k], layer.weight[m]
        for o in range(out.shape[0]):
            out[o] += (a * p[o] + b * q[o]) + (c * r[o] + d * s[o])
    return out


@jit_fused
def outputs_of(net: Any, inputs: Any) -> Any:
    """Outputs, with their padding, of a network for inputs with theirs."""
    return from_rectified(net.last, rectified(net.first, inputs))


class Seen(NamedTuple):
    """What one user's last turn showed, as in ``Observation``."""

    slate: NDArray[np.int64]
    clicks: NDArray[np.bool_]
    user: Array
    bored: NDArray[np.bool_]
    was_bored: NDArray[np.bool_]


def choose(arrays: Any, states: Any, seen: Any, draws: Any, slate: Any, action: Any) -> None:
    """Choose the next ``slate``, and write the ``action`` it was decoded from.

    Args:
        arrays: what the policy is made of; its type decides which function is called.
        states: (2, H and padding) states of the policy's belief encoders, moved on in place.
        seen: what the last turn showed.
        draws: this turn's random numbers.
        slate: (slate size,) written.
        action: (stored dim,) written.
    """
    raise NotImplementedError


def rank(arrays: Any, action: Any, states: Any, seen: Any, slate: Any) -> None:
    """Decode ``action`` (D and padding,) to a ``slate``; otherwise as ``choose``."""
    raise NotImplementedError


def chooses(kind: type) -> Callable[[Any], Any]:
    """Register a compiled function as ``choose`` for arrays of type ``kind``."""

    def register(function: Any) -> Any:
        @overload(choose, strict=False)
        def select(arrays: Any, states: Any, seen: Any, draws: Any, slate: Any, action: Any) -> Any:
            if getattr(arrays, "instance_class", None) is not kind:
                return None
            return lambda arrays, states, seen, draws, slate, action: function(
                arrays, states, seen, draws, slate, action
            )

        return function

    return register


def ranks(kind: type) -> Callable[[Any], Any]:
    """Register a compiled function as ``rank`` for arrays of type ``kind``."""

    def register(function: Any) -> Any:
        @overload(rank, strict=False)
        def select(arrays: Any, action: Any, states: Any, seen: Any, slate: Any) -> Any:
            if getattr(arrays, "instance_class", None) is not kind:
                return None
            return lambda arrays, action, states, seen, slate: function(
                arrays, action, states, seen, slate
            )

        return function

    return register


@jit
def play_episode(
    arrays: Any,
    draws: Any,
    users: Any,
    catalogue: Any,
    model: Any,
    uniforms: Any,
    slates: Any,
    clicks: Any,
    actions: Any,
    tastes: Any,
    bored: Any,
) -> None:
    """Play one episode with the one user of ``users``, after the first slate.

    Args:
        arrays: the policy.
        draws: (turns, k) random numbers of the policy.
        users: as in ``kernels.simulator``, as are ``catalogue`` and ``model``.
        catalogue: the items.
        model: the constants.
        uniforms: (turns, slate size) draws of the clicks.
        slates: (turns + 1, slate size) int64; entry 0 is the first slate, the others are written.
        clicks: (turns + 1, slate size) bool, likewise.
        actions: (turns, stored dim) float32, written.
        tastes: (turns + 1, dim) float32, written from entry 1 on; no columns if not wanted.
        bored: (turns + 1, topics) bool, likewise.
    """
    states = np.zeros((2, arrays.belief.bias.shape[1]), dtype=np.float32)
    scratch = scratch_for(catalogue)
    scores = np.empty(slates.shape[1], dtype=np.float32)
    was_bored = np.zeros_like(users.bored[0])
    for turn in range(len(draws)):
        seen = Seen(slates[turn], clicks[turn], users.embedding[0], users.bored[0], was_bored)
        choose(arrays, states, seen, draws[turn], slates[turn + 1], actions[turn])
        was_bored[:] = users.bored[0]
        play_user(
            users,
            0,
            slates[turn + 1],
            uniforms[turn],
            turn,
            catalogue,
            model,
            scratch,
            scores,
            clicks[turn + 1],
        )
        if tastes.shape[1]:
            tastes[turn + 1], bored[turn + 1] = users.embedding[0], users.bored[0]
