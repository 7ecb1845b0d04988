"""Weights as safetensors with the configuration beside them; nothing is ever unpickled."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from gems.errors import GemsError
from gems.files import read_json, write_json, written_whole


def save_weights(path: Path, weights: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Write ``weights``, and ``config`` as JSON beside them, the weights last.

    Raises:
        GemsError: the files cannot be written.
    """
    path.unlink(missing_ok=True)
    write_json(path.with_suffix(".json"), config)
    plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    with written_whole(path) as temporary:
        temporary.write_bytes(save(plain))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read weights to the CPU.

    Raises:
        GemsError: the file is missing, damaged or no safetensors file.
    """
    if not path.is_file():
        raise GemsError(f"The weights {path} do not exist.")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise GemsError(f"The weights {path} are damaged or not a safetensors file.") from error


def save_state(path: Path, values: dict[str, Any]) -> None:
    """Write a training state, which may hold more than weights.

    Raises:
        GemsError: the file cannot be written.
    """
    with written_whole(path) as temporary, temporary.open("wb") as file:
        torch.save(values, file)


def load_state(path: Path, remove: Path) -> dict[str, Any]:
    """Read a training state to the CPU, without unpickling code.

    Args:
        path: the file.
        remove: what to remove to start again, for the message.

    Raises:
        GemsError: the file is missing or damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise GemsError(
            f"The training state {path} is damaged; remove {remove} to start again."
        ) from error


def load_config(path: Path) -> dict[str, Any]:
    """Read the configuration that lies beside the weights at ``path``.

    Raises:
        GemsError: it is missing or damaged.
    """
    config = read_json(path.with_suffix(".json"))
    if not isinstance(config, dict):
        raise GemsError(f"{path.with_suffix('.json')} is not a configuration.")
    return config
