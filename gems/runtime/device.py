"""Choice of the device to train on: the least used GPU of the machine, or the CPU."""

import os
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import torch
from filelock import FileLock, Timeout

from gems.errors import GemsError

# Locked until the process ends, to show that the GPU is in use.
_claim: FileLock | None = None


def pick_device(name: str) -> torch.device:
    """The device for ``auto``, ``cpu`` or ``cuda`` on this machine.

    Of several GPUs, takes the one that the fewest jobs of this user have, and hides the others from
    the process (``CUDA_VISIBLE_DEVICES``).

    Raises:
        GemsError: ``name`` is ``cuda`` and there is no CUDA device.
    """
    if name != "cpu":
        claim_gpu(visible_gpus())
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise GemsError(
            "device is cuda, but PyTorch finds no CUDA device; set device to auto or cpu."
        )
    # By default, the recurrent networks of cuDNN round to TF32.
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def visible_gpus() -> list[str]:
    """Names of the GPUs as in ``CUDA_VISIBLE_DEVICES``; does not initialise CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(index) for index in range(torch.cuda.device_count())]
    return [gpu.strip() for gpu in visible.split(",") if gpu.strip()]


def claim_gpu(gpus: list[str]) -> None:
    """Reserve the least used of several GPUs until the process ends."""
    global _claim
    if len(gpus) < 2:
        return
    folder = claims_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    with FileLock(folder / "lock"):
        gpu = min(gpus, key=lambda gpu: len(claims(gpu)))
        _claim = FileLock(folder / f"{quote(gpu, safe='')}.{os.getpid()}")
        _claim.acquire()
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    print(f"GPU {gpu} of {', '.join(gpus)}", file=sys.stderr, flush=True)


def claims_folder() -> Path:
    """Folder in which this user's jobs on this machine record the GPU that they use."""
    return Path(tempfile.gettempdir()) / f"gems-gpus-{os.getuid()}"


def claims(gpu: str) -> list[int]:
    """Process numbers of the jobs that use a GPU; removes the claims of dead processes.

    The caller must hold the lock on the file ``lock`` of the folder.
    """
    held = []
    for path in claims_folder().glob(f"{quote(gpu, safe='')}.*"):
        try:
            with FileLock(path, blocking=False):
                path.unlink()
        except Timeout:
            held.append(int(path.suffix[1:]))
    return held
