"""The largest of many values, looked for by vector instructions, and random choices (compiled).

Values are C-contiguous float32. NaN is never among the largest, but ``largest`` may then miss the
largest of the others. Neither is minus infinity: for want of others it is item 0.
"""

from typing import Any

import numpy as np

from gems.compiled import jit
from gems.vectors import GROUPS, WIDE, count, first, group_maxima, reaching

_LOWEST = np.float32(-np.inf)


@jit
def _candidates(values: Any, k: int, maxima: Any, found: Any) -> int:
    """Indices, ascending, of a few values that hold the k largest, in ``found``; their number."""
    n, whole, held, bound = values.shape[0], 0, 0, _LOWEST
    if n >= WIDE and k <= GROUPS:
        whole = n - n % WIDE
        group_maxima(values, whole, maxima)
        # At least k values reach what k of the maxima reach, and hardly more do.
        for group in range(GROUPS):
            reached = count(reaching(maxima, 0, maxima[group], GROUPS)) >= k
            bound = maxima[group] if reached and maxima[group] > bound else bound
    for start in range(0, whole, WIDE):
        bits = reaching(values, start, bound, WIDE)
        while bits != 0:
            found[held] = start + first(bits)
            held += 1
            bits &= bits - np.uint64(1)
    for index in range(whole, n):
        found[held] = index
        held += values[index] >= bound
    return held


@jit
def _top_k(values: Any, out: Any, maxima: Any, found: Any, best: Any) -> None:
    """``top_k`` with room for ``GROUPS`` maxima, all indices, and ``len(out)`` values."""
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
    _top_k(values, out, np.empty(GROUPS, dtype=np.float32), found, best)


@jit
def top_k_rows(values: Any, items: int, out: Any) -> None:
    """``top_k`` of the first ``items`` values of every row (n, items or more), into (n, k)."""
    maxima = np.empty(GROUPS, dtype=np.float32)
    found = np.empty(items, dtype=np.int64)
    best = np.empty(out.shape[1], dtype=np.float32)
    for row in range(values.shape[0]):
        _top_k(values[row, :items], out[row], maxima, found, best)


@jit
def _largest(values: Any, maxima: Any) -> int:
    """``largest`` with room for ``GROUPS`` maxima."""
    n, whole, found, best = values.shape[0], 0, 0, _LOWEST
    if n >= WIDE:
        whole = n - n % WIDE
        group_maxima(values, whole, maxima)
        for group in range(GROUPS):
            best = maxima[group] if maxima[group] > best else best
        for start in range(0, whole, WIDE):
            bits = reaching(values, start, best, WIDE)
            if bits != 0:
                found = start + first(bits)
                break
    for index in range(whole, n):
        if values[index] > best:
            best, found = values[index], index
    return found


@jit
def largest(values: Any) -> int:
    """Index of the largest value, the lower one of ties."""
    return _largest(values, np.empty(GROUPS, dtype=np.float32))


@jit
def largest_of_rows(values: Any, items: int, out: Any) -> None:
    """``largest`` of the first ``items`` values of every row (n, items or more), into (n,)."""
    maxima = np.empty(GROUPS, dtype=np.float32)
    for row in range(values.shape[0]):
        out[row] = _largest(values[row, :items], maxima)


@jit
def distinct_items(uniforms: Any, n_items: int) -> Any:
    """First entries of a random permutation of the items for each row of ``uniforms``.

    A Fisher-Yates shuffle that remembers only the swaps made: entry i takes the item at a uniform
    place from i on.
    """
    n, k = uniforms.shape
    out = np.empty((n, k), dtype=np.int64)
    place = np.empty(k, dtype=np.int64)
    moved = np.empty(k, dtype=np.int64)
    for row in range(n):
        for i in range(k):
            j = min(i + int(uniforms[row, i] * (n_items - i)), n_items - 1)
            chosen, displaced = j, i
            for s in range(i):
                if place[s] == j:
                    chosen = moved[s]
                if place[s] == i:
                    displaced = moved[s]
            place[i], moved[i] = j, displaced
            out[row, i] = chosen
    return out
