"""Process settings of training jobs: threads, memory allocator, denormal numbers."""

import ctypes
import sys

import torch

# Parameters of glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK_KEPT, _MOST_KEPT = 32 << 20, 64 << 20


def set_up_process() -> None:
    """Use one thread, keep freed memory for reuse, and flush denormal numbers to 0.

    One thread, because jobs run in parallel. Every update allocates and frees temporaries of a few
    MB; by default glibc returns them to the system, which clears each page again on the next
    access. Adam's moments of dead units decay with every update; once they are denormal, below
    1.2e-38, each operation on them takes a hundred cycles.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK_KEPT)
        libc.mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
