"""Which device networks are trained on: the least used GPU of the machine, or the CPU."""

import fcntl
import os
import sys
import tempfile
from pathlib import Path
from typing import IO
from urllib.parse import quote

import torch

from gems.errors import GemsError

# Open as long as the process lives: the lock on it says that the GPU is in use.
_claim: IO[str] | None = None


def pick_device(name: str) -> torch.device:
    """The device that ``auto``, ``cpu`` or ``cuda`` stands for here.

    Of several GPUs it is the one that the fewest jobs of this user have; from then on the process
    sees only that one (``CUDA_VISIBLE_DEVICES``).

    Raises:
        GemsError: ``cuda`` is asked for where there is none.
    """
    if name != "cpu":
        claim_gpu(visible_gpus())
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise GemsError("device is cuda, but PyTorch finds no CUDA device here; use auto or cpu.")
    # The recurrent networks of cuDNN round to TF32 unless told not to.
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def visible_gpus() -> list[str]:
    """Names of the GPUs as in ``CUDA_VISIBLE_DEVICES``; CUDA is not initialised by this."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(index) for index in range(torch.cuda.device_count())]
    return [gpu.strip() for gpu in visible.split(",") if gpu.strip()]


def claim_gpu(gpus: list[str]) -> None:
    """Take the least used of several GPUs, for as long as the process lives, however it ends."""
    global _claim
    if len(gpus) < 2:
        return
    folder = claims_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        gpu = min(gpus, key=lambda gpu: len(claims(gpu)))
        _claim = (folder / f"{quote(gpu, safe='')}.{os.getpid()}").open("w")
        fcntl.flock(_claim, fcntl.LOCK_EX)
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    print(f"GPU {gpu} of {', '.join(gpus)}", file=sys.stderr, flush=True)


def claims_folder() -> Path:
    """Where the jobs of this user on this machine say which GPU they have."""
    return Path(tempfile.gettempdir()) / f"gems-gpus-{os.getuid()}"


def claims(gpu: str) -> list[int]:
    """Process numbers of the jobs that have a GPU; what dead ones left is removed.

    To be called by who holds the lock on the folder's file ``lock``.
    """
    held = []
    for path in claims_folder().glob(f"{quote(gpu, safe='')}.*"):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(int(path.suffix[1:]))
            else:
                path.unlink(missing_ok=True)
    return held
