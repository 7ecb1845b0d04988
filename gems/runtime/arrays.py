"""Reading tables of numbers from files of users."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gems.errors import GemsError


def read_table(path: Path, name: str) -> NDArray[np.float32]:
    """Read a table from .npy, or from a .pt or .safetensors file that holds one tensor.

    Error messages call the table ``name``.

    Raises:
        GemsError: the file is missing, damaged, or not a 2-d table of finite floats.
    """
    if not path.is_file():
        raise GemsError(f"The {name} {path} does not exist.")
    try:
        values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else _tensor(path)
        kind, shape = values.dtype, values.shape
        with np.errstate(over="ignore", invalid="ignore"):
            table = np.ascontiguousarray(values, dtype=np.float32)
    except Exception as error:
        raise GemsError(
            f"The {name} {path} cannot be read; give a .npy array, or a .pt or .safetensors file "
            "that holds one tensor."
        ) from error
    if kind.kind != "f" or len(shape) != 2 or not table.size:
        raise GemsError(
            f"The {name} {path} holds {kind} of shape {shape}; it must hold floats of shape "
            "(items, dimensions)."
        )
    if not np.isfinite(table).all():
        raise GemsError(f"The {name} {path} holds NaN, infinity or a number too large for float32.")
    return table


def _tensor(path: Path) -> NDArray:
    import torch
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        (tensor,) = load_file(path).values()
    else:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    # NumPy lacks bfloat16.
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
