"""The largest of many values, looked for by vector instructions (compiled, on the CPU)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.cpython.unsafe import numbers

from gems.compiled import jit

# Values looked at at once, and the groups of values of whose maxima a bound is made.
WIDE, GROUPS = 64, 16
_intrinsic: Any = extending.intrinsic
_trailing_zeros: Any = numbers.trailing_zeros
_LOWEST = np.float32(-np.inf)


def _floats(lanes: int) -> Any:
    return ir.VectorType(ir.FloatType(), lanes)


def _places(indices: Sequence[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(indices)), list(indices))


@_intrinsic(prefer_literal=True)
def _reaching(context: Any, values: Any, start: Any, bound: Any, width: Any) -> Any:
    """Bit i tells whether ``values[start + i] >= bound``, for i below the constant ``width``."""
    lanes = width.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
        place = builder.bitcast(builder.gep(array.data, [args[1]]), _floats(lanes).as_pointer())
        some, none = builder.load(place, align=4), ir.Constant(_floats(lanes), ir.Undefined)
        one = builder.insert_element(none, args[2], ir.IntType(32)(0))
        bounds = builder.shuffle_vector(one, none, _places([0] * lanes))
        bits = builder.bitcast(builder.fcmp_ordered(">=", some, bounds), ir.IntType(lanes))
        return bits if lanes == 64 else builder.zext(bits, ir.IntType(64))

    return types.uint64(values, types.intp, types.float32, width), generate


@_intrinsic
def _count(context: Any, bits: Any) -> Any:
    """Number of bits that are set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), generate


@_intrinsic
def _group_maxima(context: Any, values: Any, stop: Any, maxima: Any) -> Any:
    """Maxima (GROUPS,) of the first ``stop`` values whose index is the same modulo ``GROUPS``.

    ``stop`` is a multiple of ``WIDE``, and not 0.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, out = (
            cgutils.create_struct_proxy(signature.args[i])(context, builder, args[i]).data
            for i in (0, 2)
        )

        def load(start: Any) -> Any:
            place = builder.gep(data, [start])
            return builder.load(builder.bitcast(place, _floats(WIDE).as_pointer()), align=4)

        def greater(a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        whole = cgutils.alloca_once_value(builder, load(ir.IntType(64)(0)))
        starts = cgutils.for_range_slice(
            builder, ir.IntType(64)(WIDE), args[1], ir.IntType(64)(WIDE), ir.IntType(64)
        )
        with starts as (start, _):
            builder.store(greater(load(start), builder.load(whole)), whole)
        found, lanes = builder.load(whole), WIDE
        while lanes > GROUPS:
            lanes //= 2
            low, high = _places(range(lanes)), _places(range(lanes, 2 * lanes))
            halves = (builder.shuffle_vector(found, found, half) for half in (low, high))
            found = greater(*halves)
        builder.store(found, builder.bitcast(out, found.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(values, types.intp, maxima), generate


@jit
def _candidates(values: Any, k: int, maxima: Any, found: Any) -> int:
    """Indices, ascending, of a few values that hold the k largest, in ``found``; their number."""
    n, whole, count, bound = values.shape[0], 0, 0, _LOWEST
    if n >= WIDE and k <= GROUPS:
        whole = n - n % WIDE
        _group_maxima(values, whole, maxima)
        # At least k values reach what k of the maxima reach, and hardly more do.
        for group in range(GROUPS):
            reached = _count(_reaching(maxima, 0, maxima[group], GROUPS)) >= k
            bound = maxima[group] if reached and maxima[group] > bound else bound
    for start in range(0, whole, WIDE):
        bits = _reaching(values, start, bound, WIDE)
        while bits != 0:
            found[count] = start + _trailing_zeros(bits)
            count += 1
            bits &= bits - np.uint64(1)
    for index in range(whole, n):
        found[count] = index
        count += values[index] >= bound
    return count


@jit
def _top_k(values: Any, out: Any, maxima: Any, found: Any, best: Any) -> None:
    """``top_k`` with room for ``WIDE`` maxima, all indices, and ``len(out)`` values."""
    k = out.shape[0]
    best[:] = _LOWEST
    out[:] = 0
    for c in range(_candidates(values, k, maxima, found)):
        index = found[c]
        value = values[index]
        if value > best[k - 1]:
            j = k - 1
            while j > 0 and value > best[j - 1]:
                best[j] = best[j - 1]
                out[j] = out[j - 1]
                j -= 1
            best[j] = value
            out[j] = index


@jit
def top_k(values: Any, out: Any) -> None:
    """Indices of the largest ``len(out)`` values in descending order; ties to the lower index."""
    found = np.empty(values.shape[0], dtype=np.int64)
    best = np.empty(out.shape[0], dtype=np.float32)
    _top_k(values, out, np.empty(WIDE, dtype=np.float32), found, best)


@jit
def top_k_rows(values: Any, out: Any) -> None:
    """``top_k`` of every row of ``values`` (n, items), into ``out`` (n, k)."""
    maxima = np.empty(WIDE, dtype=np.float32)
    found = np.empty(values.shape[1], dtype=np.int64)
    best = np.empty(out.shape[1], dtype=np.float32)
    for row in range(values.shape[0]):
        _top_k(values[row], out[row], maxima, found, best)


@jit
def _largest(values: Any, maxima: Any) -> int:
    """``largest`` with room for ``WIDE`` maxima."""
    n, whole, found, best = values.shape[0], 0, 0, _LOWEST
    if n >= WIDE:
        whole = n - n % WIDE
        _group_maxima(values, whole, maxima)
        for group in range(GROUPS):
            best = maxima[group] if maxima[group] > best else best
        for start in range(0, whole, WIDE):
            bits = _reaching(values, start, best, WIDE)
            if bits != 0:
                found = start + _trailing_zeros(bits)
                break
    for index in range(whole, n):
        if values[index] > best:
            best, found = values[index], index
    return found


@jit
def largest(values: Any) -> int:
    """Index of the largest value, the lower one of ties."""
    return _largest(values, np.empty(WIDE, dtype=np.float32))


@jit
def largest_of_rows(values: Any, out: Any) -> None:
    """``largest`` of every row of ``values`` (n, m), into ``out`` (n,)."""
    maxima = np.empty(WIDE, dtype=np.float32)
    for row in range(values.shape[0]):
        out[row] = _largest(values[row], maxima)
