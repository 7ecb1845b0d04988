"""Compiled products agree with NumPy's, whatever the numbers of rows and columns."""

import numpy as np
import pytest
from numba.core.errors import TypingError

from gems.kernels.compiled import LANES, affine


@pytest.mark.parametrize("rows", [1, 4, 5, 12])
@pytest.mark.parametrize("columns", [LANES, 3 * LANES])
def test_affine_is_a_product_and_a_start(rows, columns):
    rng = np.random.default_rng(rows)
    vectors, matrix, start, other = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((rows, 25), (20, columns), columns, (rows, columns))
    )
    out = np.empty((rows, columns), dtype=np.float32)
    for begin in (start, other):
        affine(out, begin, vectors, matrix)
        np.testing.assert_allclose(out, begin + vectors[:, :20] @ matrix, rtol=0, atol=1e-5)
    affine(other, other, vectors, matrix)
    np.testing.assert_array_equal(other, out)


def test_arrays_that_are_not_c_contiguous_float32_are_refused():
    matrix = np.zeros((LANES, LANES), dtype=np.float32)
    for wrong in (np.zeros((LANES, LANES)), matrix.T):
        with pytest.raises(TypingError, match="C-contiguous float32"):
            affine(matrix, matrix, matrix, wrong)
