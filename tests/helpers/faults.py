"""A tiny configuration and commands, for tests of faults."""

import pickle
from pathlib import Path

import options
import torch

ENV, SEED = ("--env", "focused_mix"), ("--seed", "7")
TINY = options.TINY | {
    "vae": {"epochs": 2, "batch_slates": 32},
    "training": options.TINY["training"] | {"episodes": 6, "validate_every": 3},
}
SIMULATE = ("simulate", *ENV)
VAE = ("pretrain", *ENV, *SEED)
MF = ("pretrain", "--model", "mf", *ENV)
TRAIN_GEMS = ("train", "--method", "SAC+GeMS", *ENV, *SEED)
TRAIN_SLATEQ = ("train", "--method", "SlateQ", *ENV, *SEED)


def vae_of(folder):
    """The file of the VAE."""
    return next((folder / "out" / "vae").glob("*.safetensors"))


def states(folder):
    """Names of what jobs have left for their next try."""
    return {path.name for path in (folder / "out" / ".state").rglob("*") if path.is_file()}


def files(folder):
    """Contents of all files below a folder."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class Payload:
    """Unpickled, it makes a file."""

    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def write_pickle(path, form):
    """Write a payload to ``path`` by ``pickle`` or by ``torch``."""
    with path.open("wb") as file:
        pickle.dump(Payload(), file) if form == "pickle" else torch.save({"a": Payload()}, file)
