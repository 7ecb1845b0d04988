"""Item tables on disk."""

from pathlib import Path

from torch import Tensor

from gems.errors import GemsError
from gems.sections import MFConfig
from gems.weights import load_config, load_weights


def load_items(path: Path, n_items: int, config: MFConfig) -> Tensor:
    """Item embeddings (items, dim) of matrix factorisation, or of a user's own making.

    Raises:
        GemsError: the file is missing, damaged, of another number of items, of a factorisation
            that was validated otherwise than ``config`` says, or from a file that it does not name.
    """
    table = load_weights(path).get("items")
    if table is None or table.ndim != 2:
        raise GemsError(f"{path} does not hold an item table.")
    if len(table) != n_items:
        raise GemsError(f"The item table {path} has {len(table)} items; {n_items} are needed.")
    described = load_config(path)
    source = described.get("source")
    if source is not None and source not in config.files.values():
        raise GemsError(
            f"The item table {path} was taken from {source}, which mf.files does not name; "
            "make it again with gems mf, or name that file."
        )
    made = described.get("mf")
    if made is not None and made.get("validation") != config.validation:
        raise GemsError(
            f"The item table {path} was made with mf.validation {made.get('validation')}; "
            f"{config.validation} is needed."
        )
    return table
