"""The compiled look for the largest values agrees with sorting, ties included."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gems.kernels.selection import largest, largest_of_rows, top_k, top_k_rows


@st.composite
def _rows(draw):
    """Rows of values with many ties or hardly any, around the widths that vectors fill."""
    n = draw(st.integers(20, 70) | st.integers(120, 135) | st.just(1000))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = draw(st.sampled_from([0.0, 0.3, 3.0, 1e6])) * rng.standard_normal((3, n))
    return np.round(values).astype(np.float32)


@given(_rows(), st.integers(1, 20))
def test_top_k_is_a_stable_sort_in_descending_order(values, k):
    expected = np.argsort(-values, axis=1, kind="stable")[:, :k]
    found = np.empty((3, k), dtype=np.int64)
    top_k_rows(values, values.shape[1], found)
    np.testing.assert_array_equal(found, expected)
    top_k(values[1], found[0])
    np.testing.assert_array_equal(found[0], expected[1])


@given(_rows())
def test_largest_is_the_first_of_the_largest_values(values):
    found = np.empty(3, dtype=np.int64)
    largest_of_rows(values, values.shape[1], found)
    np.testing.assert_array_equal(found, values.argmax(1))
    assert largest(values[1]) == values[1].argmax()
    assert largest(values[1, :7]) == values[1, :7].argmax()
