"""Independent random streams from one seed; the global generators are never touched.

A stream is named by what it is for, so a job that resumes at episode 7,000 draws the same numbers
as one that was never stopped, with no generator state to save.
"""

import zlib

import numpy as np
import torch


def _sequence(seed: int, names: tuple[str | int, ...]) -> np.random.SeedSequence:
    words = [name if isinstance(name, int) else zlib.crc32(name.encode()) for name in names]
    return np.random.SeedSequence([seed, *words])


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator for the purpose ``names``, e.g. ``stream(seed, "validation", 1000)``."""
    return np.random.Generator(np.random.PCG64(_sequence(seed, names)))


def torch_stream(
    seed: int, *names: str | int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator on ``device`` for the purpose ``names``."""
    generator = torch.Generator(device=device)
    generator.manual_seed(int(_sequence(seed, names).generate_state(1, np.uint64)[0] >> 1))
    return generator
