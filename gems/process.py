"""How a job uses its machine: one thread, memory not given back at once, no denormal numbers."""

import ctypes
import sys

import torch

# Parameters of glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK_KEPT, _MOST_KEPT = 32 << 20, 64 << 20


def set_up_process() -> None:
    """Compute with one thread, keep freed memory for the next batch, take denormals for 0.

    One thread, so that jobs fill the cores. Temporaries of a few MB come and go with every update;
    by default glibc returns them to the system, which has to clear each page again when it is next
    touched. The moments that Adam keeps of dead units decay with every update; once they are
    denormal, below 1.2e-38, each costs the processor a hundred cycles.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK_KEPT)
        libc.mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
