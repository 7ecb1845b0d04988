"""Philox4x32-10, compiled: the twin of ``gems.envs.philox``, one counter after the other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gems.kernels.compiled import jit

_MULTIPLIER_0, _MULTIPLIER_2 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _SHIFT, _ZERO = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(0)


@jit
def _draw(seed: Any, offsets: Any, threads: Any, words: Any) -> None:
    for i in range(words.shape[0]):
        place = np.uint64(offsets[i]) >> np.uint64(2)
        c0, c1, c2, c3 = place & _LOW, place >> _SHIFT, np.uint64(threads[i]), _ZERO
        k0, k1 = seed & _LOW, seed >> _SHIFT
        for _ in range(10):
            product_0, product_2 = _MULTIPLIER_0 * c0, _MULTIPLIER_2 * c2
            c0, c1 = (product_2 >> _SHIFT) ^ c1 ^ k0, product_2 & _LOW
            c2, c3 = (product_0 >> _SHIFT) ^ c3 ^ k1, product_0 & _LOW
            k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
        words[i, 0], words[i, 1] = c0, c1


def words(seed: int, offsets: NDArray[np.int64], threads: NDArray[np.int64]) -> NDArray[np.uint32]:
    """As ``gems.envs.philox.words``."""
    out = np.empty((offsets.size, 2), dtype=np.uint32)
    _draw(np.uint64(seed), offsets.ravel(), threads.ravel(), out)
    return out.reshape(*offsets.shape, 2)
