"""Item tables on disk."""

from pathlib import Path

from torch import Tensor

from gems.errors import GemsError
from gems.sections import MFConfig
from gems.weights import load_config, load_weights


def load_items(path: Path, n_items: int, config: MFConfig) -> Tensor:
    """Item embeddings (items, dim) of matrix factorisation, or of a user's own making.

    Raises:
        GemsError: the file is missing, damaged, of another number of items, or of a factorisation
            that was validated otherwise than ``config`` says.
    """
    table = load_weights(path).get("items")
    if table is None or table.ndim != 2:
        raise GemsError(f"{path} does not hold an item table.")
    if len(table) != n_items:
        raise GemsError(f"The item table {path} has {len(table)} items; {n_items} are needed.")
    made = load_config(path).get("mf")
    if made is not None and made.get("validation") != config.validation:
        raise GemsError(
            f"The item table {path} was made with mf.validation {made.get('validation')}; "
            f"{config.validation} is needed."
        )
    return table
