"""The largest of many values (compiled).

NaN is never among the largest, but the largest of the others may then be missed. Minus infinity is
not among them either: for want of others it is item 0.

Long loops without branches compile to vector instructions; a slice assignment does not.
"""

from typing import Any

import numpy as np

from gems.kernels.compiled import jit

_LOWEST = np.float32(-np.inf)
# Flags in a 64-bit word.
_WORD = 8
_SIGN, _MAGNITUDE = np.int32(31), np.int32(0x7FFFFFFF)


@jit
def _bound(values: Any, k: int, maxima: Any) -> Any:
    """A number that at least k values reach, and hardly more.

    Halves are compared with each other until fewer than 2 k values are left.
    """
    width = values.shape[0] // 2
    if width < k:
        return _LOWEST
    for i in range(width):
        a, b = values[i], values[width + i]
        maxima[i] = a if a > b else b
    while width // 2 >= k:
        width //= 2
        for i in range(width):
            a, b = maxima[i], maxima[width + i]
            maxima[i] = a if a > b else b
    bound = _LOWEST
    for i in range(width):
        reached = 0
        for j in range(width):
            reached += maxima[j] >= maxima[i]
        bound = maxima[i] if reached >= k and maxima[i] > bound else bound
    return bound


@jit
def _candidates(values: Any, bound: Any, reaches: Any, found: Any) -> int:
    """Indices, ascending, of the values that reach a bound, in ``found``; their number."""
    for i in range(values.shape[0]):
        reaches[i] = values[i] >= bound
    words = reaches.view(np.uint64)
    held = 0
    for word in range(words.shape[0]):
        if words[word] != 0:
            for i in range(_WORD * word, _WORD * (word + 1)):
                found[held] = i
                held += reaches[i]
    return held


@jit
def _top_k(values: Any, out: Any, scratch: Any) -> None:
    """``top_k`` with the arrays of ``_scratch``."""
    k = out.shape[0]
    maxima, reaches, found, best = scratch
    for i in range(k):
        best[i], out[i] = _LOWEST, 0
    for c in range(_candidates(values, _bound(values, k, maxima), reaches, found)):
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
def _scratch(n: int, k: int) -> Any:
    """Arrays that ``_top_k`` of n values fills: maxima, reaches, found and best."""
    whole = (n + _WORD - 1) // _WORD * _WORD
    return (
        np.empty(n // 2, dtype=np.float32),
        np.zeros(whole, dtype=np.uint8),
        np.empty(whole + 1, dtype=np.int64),
        np.empty(k, dtype=np.float32),
    )


@jit
def top_k(values: Any, out: Any) -> None:
    """Indices of the largest ``len(out)`` values in descending order; ties to the lower index."""
    _top_k(values, out, _scratch(values.shape[0], out.shape[0]))


@jit
def top_k_rows(values: Any, items: int, out: Any) -> None:
    """``top_k`` of the first ``items`` values of every row (n, items or more), into (n, k)."""
    scratch = _scratch(items, out.shape[1])
    for row in range(values.shape[0]):
        _top_k(values[row, :items], out[row], scratch)


@jit
def _ordered(bits: Any) -> Any:
    """Integers in the order of the float32 numbers with these bits; its own inverse."""
    return bits ^ ((bits >> _SIGN) & _MAGNITUDE)


@jit
def largest(values: Any) -> int:
    """Index of the largest value, the lower one of ties; values lie side by side."""
    n, bits = values.shape[0], values.view(np.int32)
    greatest = _ordered(bits[0])  # integers: no loop finds the maximum of floats by vectors
    for i in range(n):
        greatest = max(greatest, _ordered(bits[i]))
    value = np.int32(_ordered(greatest)).view(np.float32)
    found = n
    for i in range(n):
        found = min(found, i if values[i] >= value else n)
    return found if found < n else 0


@jit
def largest_of_rows(values: Any, items: int, out: Any) -> None:
    """``largest`` of the first ``items`` values of every row (n, items or more), into (n,)."""
    for row in range(values.shape[0]):
        out[row] = largest(values[row, :items])
