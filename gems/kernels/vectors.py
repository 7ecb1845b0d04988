"""A small matrix product whose sums stay in registers, as an LLVM intrinsic for any processor.

numba's own loops add to memory, and make an episode of SAC+GeMS 39 % slower and an update of
SAC+WkNN 13 %. LLVM cuts vectors that have more lanes than the processor's into several.
"""

from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils, errors

_intrinsic: Any = extending.intrinsic
_Int = ir.IntType(64)


def _vector_at(builder: Any, pointer: Any, lanes: int) -> Any:
    return builder.bitcast(pointer, ir.VectorType(ir.FloatType(), lanes).as_pointer())


def _repeated(builder: Any, value: Any, lanes: int) -> Any:
    none = ir.Constant(ir.VectorType(ir.FloatType(), lanes), ir.Undefined)
    one = builder.insert_element(none, value, ir.IntType(32)(0))
    first = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(one, none, first)


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

    All arrays are C-contiguous float32, and all rows and columns must lie within them.

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
    for array in (out, start, vectors, matrix):
        if (array.dtype, array.layout) != (types.float32, "C"):
            raise errors.TypingError(f"needs a C-contiguous float32 array, not {array}")
    if not all(isinstance(number, types.IntegerLiteral) for number in (rows, columns)):
        raise errors.TypingError("needs constant numbers of rows and columns")
    lanes = columns.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = [
            cgutils.create_struct_proxy(signature.args[which])(context, builder, args[which])
            for which in range(4)
        ]
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
