"""Weights as safetensors with a JSON configuration beside them; nothing is unpickled."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from gems.errors import GemsError
from gems.runtime.files import read_json, write_json, written_whole


def save_weights(path: Path, weights: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Write ``config`` and the digest of ``weights`` as JSON, then ``weights`` beside it.

    Raises:
        GemsError: the files cannot be written.
    """
    path.unlink(missing_ok=True)
    plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    contents = save(plain)
    sha256 = hashlib.sha256(contents).hexdigest()
    write_json(path.with_suffix(".json"), config | {"sha256": sha256})
    with written_whole(path) as temporary:
        temporary.write_bytes(contents)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read weights to the CPU.

    Raises:
        GemsError: the file is missing, damaged or not a safetensors file.
    """
    if not path.is_file():
        raise GemsError(f"The weights {path} do not exist.")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise GemsError(f"The weights {path} are damaged or not a safetensors file.") from error


def save_state(path: Path, values: dict[str, Any]) -> None:
    """Write a training state.

    Raises:
        GemsError: the file cannot be written.
    """
    with written_whole(path) as temporary, temporary.open("wb") as file:
        torch.save(values, file)


def load_state(path: Path, remove: Path) -> dict[str, Any]:
    """Read a training state to the CPU, without unpickling code.

    Error messages say to remove the path ``remove``.

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
    """Read the configuration beside the weights at ``path``.

    Raises:
        GemsError: the file is missing or damaged.
    """
    config = read_json(path.with_suffix(".json"))
    if not isinstance(config, dict):
        raise GemsError(f"{path.with_suffix('.json')} is not a configuration.")
    return config
