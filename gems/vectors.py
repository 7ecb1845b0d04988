"""Vector instructions that numba has no words for, written in LLVM's language for any processor.

Vectors have more lanes than any processor's: LLVM cuts them up. Arrays are C-contiguous float32,
and what is asked for must lie within them.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils, errors

# Values looked at at once, and the groups of values whose maxima ``group_maxima`` gives.
WIDE, GROUPS = 64, 16
_intrinsic: Any = extending.intrinsic
_Int = ir.IntType(64)


def _floats(lanes: int) -> Any:
    return ir.VectorType(ir.FloatType(), lanes)


def _places(indices: Sequence[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(indices)), list(indices))


def _check(*arrays: Any, constants: Sequence[Any] = ()) -> None:
    """Refuse arrays whose values do not lie side by side as float32, and numbers not constant."""
    for array in arrays:
        if (array.dtype, array.layout) != (types.float32, "C"):
            raise errors.TypingError(f"needs a C-contiguous float32 array, not {array}")
    if not all(isinstance(constant, types.IntegerLiteral) for constant in constants):
        raise errors.TypingError("needs constant numbers of lanes")


def _array(context: Any, builder: Any, signature: Any, args: Any, which: int) -> Any:
    return cgutils.create_struct_proxy(signature.args[which])(context, builder, args[which])


def _vector_at(builder: Any, pointer: Any, lanes: int) -> Any:
    return builder.bitcast(pointer, _floats(lanes).as_pointer())


def _repeated(builder: Any, value: Any, lanes: int) -> Any:
    none = ir.Constant(_floats(lanes), ir.Undefined)
    one = builder.insert_element(none, value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, none, _places([0] * lanes))


@_intrinsic
def as_float(context: Any, bits: Any) -> Any:
    """The float32 with the bits of an int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


@_intrinsic
def as_int(context: Any, value: Any) -> Any:
    """The int32 with the bits of a float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), generate


@_intrinsic
def count(context: Any, bits: Any) -> Any:
    """Number of bits that are set in a uint64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), generate


@_intrinsic
def first(context: Any, bits: Any) -> Any:
    """Place of the lowest bit that is set in a uint64 other than 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate


@_intrinsic(prefer_literal=True)
def reaching(context: Any, values: Any, start: Any, bound: Any, width: Any) -> Any:
    """Bit i tells whether ``values[start + i] >= bound``, for i below the constant ``width``."""
    _check(values, constants=[width])
    lanes = width.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.gep(_array(context, builder, signature, args, 0).data, [args[1]])
        some = builder.load(_vector_at(builder, place, lanes), align=4)
        bits = builder.fcmp_ordered(">=", some, _repeated(builder, args[2], lanes))
        bits = builder.bitcast(bits, ir.IntType(lanes))
        return bits if lanes == _Int.width else builder.zext(bits, _Int)

    return types.uint64(values, types.intp, types.float32, width), generate


@_intrinsic
def group_maxima(context: Any, values: Any, stop: Any, maxima: Any) -> Any:
    """Maxima (GROUPS,) of the first ``stop`` values whose index is the same modulo ``GROUPS``.

    ``stop`` is a multiple of ``WIDE``, and not 0. A maximum may be NaN where one of its values is.
    """
    _check(values, maxima)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, out = (_array(context, builder, signature, args, which).data for which in (0, 2))

        def load(start: Any) -> Any:
            return builder.load(_vector_at(builder, builder.gep(data, [start]), WIDE), align=4)

        def greater(a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        kept = cgutils.alloca_once_value(builder, load(_Int(0)))
        step = _Int(WIDE)
        with cgutils.for_range_slice(builder, step, args[1], step, _Int) as (start, _):
            builder.store(greater(load(start), builder.load(kept)), kept)
        found, lanes = builder.load(kept), WIDE
        while lanes > GROUPS:
            lanes //= 2
            low, high = _places(range(lanes)), _places(range(lanes, 2 * lanes))
            halves = (builder.shuffle_vector(found, found, half) for half in (low, high))
            found = greater(*halves)
        builder.store(found, _vector_at(builder, out, GROUPS), align=4)
        return context.get_dummy_value()

    return types.void(values, types.intp, maxima), generate


@_intrinsic(prefer_literal=True)
def affine_tile(
    context: Any,
    out: Any,
    start: Any,
    vectors: Any,
    matrix: Any,
    row: Any,
    column: Any,
    rows: Any,
    columns: Any,
) -> Any:
    """``out[r, c] = start[r, c] + vectors[r] @ matrix[:, c]`` for some rows and columns.

    Args:
        context: numba's.
        out: (m, n).
        start: (m, n), which may be ``out``, or (n,), the same for all rows.
        vectors: (m, k or wider).
        matrix: (k, n).
        row: the first row.
        column: the first column.
        rows: their number, a constant: all their sums are kept in registers.
        columns: likewise.
    """
    _check(out, start, vectors, matrix, constants=[rows, columns])
    lanes = columns.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = [_array(context, builder, signature, args, which) for which in range(4)]
        widths = [cgutils.unpack_tuple(builder, array.shape)[-1] for array in arrays]

        def place(which: int, i: Any, j: Any) -> Any:
            index = builder.add(builder.mul(i, widths[which]), j)
            return builder.gep(arrays[which].data, [index])

        def load(which: int, i: Any) -> Any:
            at = _vector_at(builder, place(which, i, args[5]), lanes)
            return builder.load(at, align=4)

        contract = {"flags": ("contract",)}
        lines = [builder.add(args[4], _Int(i)) for i in range(rows.literal_value)]
        starts = [line if start.ndim == 2 else _Int(0) for line in lines]
        sums = [cgutils.alloca_once_value(builder, load(1, line)) for line in starts]
        depth, _ = cgutils.unpack_tuple(builder, arrays[3].shape)
        with cgutils.for_range(builder, depth) as loop:
            weights = load(3, loop.index)
            for line, total in zip(lines, sums, strict=True):
                factor = builder.load(place(2, line, loop.index))
                product = builder.fmul(_repeated(builder, factor, lanes), weights, **contract)
                builder.store(builder.fadd(builder.load(total), product, **contract), total)
        for line, total in zip(lines, sums, strict=True):
            at = _vector_at(builder, place(0, line, args[5]), lanes)
            builder.store(builder.load(total), at, align=4)
        return context.get_dummy_value()

    arguments = out, start, vectors, matrix, types.intp, types.intp, rows, columns
    return types.void(*arguments), generate
