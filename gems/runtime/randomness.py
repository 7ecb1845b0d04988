"""Independent random streams from one seed; the global generators are never used.

A stream is named by its purpose, so a job that resumes at episode 7,000 draws the same numbers as
one that was never stopped, with no generator state to save.
"""

import zlib

import numpy as np
import torch
from numpy.typing import NDArray


def _sequence(seed: int, names: tuple[str | int, ...]) -> np.random.SeedSequence:
    words = [name if isinstance(name, int) else zlib.crc32(name.encode()) for name in names]
    return np.random.SeedSequence([seed, *words])


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for the purpose ``names``, e.g. ``stream(seed, "validation", 1000)``."""
    return np.random.Generator(np.random.PCG64(_sequence(seed, names)))


def torch_stream(
    seed: int, *names: str | int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A PyTorch generator on ``device`` for the purpose ``names``."""
    generator = torch.Generator(device=device)
    generator.manual_seed(int(_sequence(seed, names).generate_state(1, np.uint64)[0] >> 1))
    return generator


def distinct_items(uniforms: NDArray[np.float64], n_items: int) -> NDArray[np.int64]:
    """First entries of a random permutation of the items for each row of ``uniforms``, (n, k).

    A Fisher-Yates shuffle that remembers only the swaps made: entry i takes the item at a uniform
    place from i on.
    """
    n, k = uniforms.shape
    out, place, moved = (np.empty((k, n), dtype=np.int64) for _ in range(3))
    for i in range(k):
        drawn = i + (uniforms[:, i] * (n_items - i)).astype(np.int64)
        place[i] = out[i] = np.minimum(drawn, n_items - 1)
        moved[i] = i
        for s in range(i):
            out[i] = np.where(place[s] == place[i], moved[s], out[i])
            moved[i] = np.where(place[s] == i, moved[s], moved[i])
    return np.ascontiguousarray(out.T)
