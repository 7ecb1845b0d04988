"""Philox4x32-10, the counter-based generator of CUDA's random numbers (Section 10).

Salmon, Moraes, Dror, Shaw: *Parallel random numbers: as easy as 1, 2, 3* (SC 2011). A block of four
32-bit words is a function of a key and of a counter, so that any part of a stream can be drawn
without the parts before it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gems import kernels

ROUNDS = 10
_MULTIPLIER_0, _MULTIPLIER_2 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)
_SCALE, _HALF_STEP = np.float32(2.0**-32), np.float32(2.0**-33)


def block(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """The four words of counters under a key; all are arrays of uint64 that hold 32 bits."""
    for _ in range(ROUNDS):
        product_0, product_2 = _MULTIPLIER_0 * c0, _MULTIPLIER_2 * c2
        c0, c1, c2, c3 = (
            (product_2 >> _SHIFT) ^ c1 ^ k0,
            product_2 & _LOW,
            (product_0 >> _SHIFT) ^ c3 ^ k1,
            product_0 & _LOW,
        )
        k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    return c0, c1, c2, c3


def words(seed: int, offsets: NDArray[np.int64], threads: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The first two words that each thread draws at an offset of a generator.

    Args:
        seed: seed of the generator, less than 2^64.
        offsets: (...) multiples of 4.
        threads: (...) indices of the threads.

    Returns:
        (..., 2) uint32.
    """
    if kernels.available():
        from gems.kernels import philox as compiled

        return compiled.words(seed, offsets, threads)
    place, thread = offsets.astype(np.uint64) >> np.uint64(2), threads.astype(np.uint64)
    key = np.uint64(seed) & _LOW, np.uint64(seed) >> _SHIFT
    first, second, _, _ = block(place & _LOW, place >> _SHIFT, thread, np.uint64(0), *key)
    return np.stack([first, second], axis=-1).astype(np.uint32)


def uniform(words: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Uniform numbers in (0, 1], as CUDA makes them of words."""
    return words.astype(np.float32) * _SCALE + _HALF_STEP


def normal(words: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Standard normal numbers (...) of pairs of words (..., 2), by the sine of Box and Muller."""
    u = uniform(words).astype(np.float64)
    radius = np.sqrt(-2 * np.log(u[..., 0]))
    return (np.sin(2 * np.pi * u[..., 1]) * radius).astype(np.float32)
