"""Which device networks are trained on."""

import torch

from gems.errors import GemsError


def pick_device(name: str) -> torch.device:
    """The device that ``auto``, ``cpu`` or ``cuda`` stands for here.

    Raises:
        GemsError: ``cuda`` is asked for where there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise GemsError("device is cuda, but PyTorch finds no CUDA device here; use auto or cpu.")
    # The recurrent networks of cuDNN round to TF32 unless told not to.
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda" if available and name != "cpu" else "cpu")
