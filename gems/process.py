"""How a job uses its machine: one thread, and memory that is not given back at once."""

import ctypes
import sys

import torch

# Parameters of glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK_KEPT, _MOST_KEPT = 32 << 20, 64 << 20


def use_one_thread() -> None:
    """Compute with one thread, so that jobs fill the cores; keep freed memory for the next batch.

    Temporaries of a few MB come and go with every update. By default glibc returns them to the
    system, which has to clear each page again when it is next touched.
    """
    torch.set_num_threads(1)
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK_KEPT)
        libc.mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
