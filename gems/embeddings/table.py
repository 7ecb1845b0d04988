"""Item tables on disk."""

from pathlib import Path

from torch import Tensor

from gems.errors import GemsError
from gems.weights import load_weights


def load_items(path: Path, n_items: int) -> Tensor:
    """Item embeddings (items, dim) of matrix factorisation.

    Raises:
        GemsError: the file is missing, damaged, or of another number of items.
    """
    table = load_weights(path).get("items")
    if table is None or table.ndim != 2:
        raise GemsError(f"{path} does not hold an item table.")
    if len(table) != n_items:
        raise GemsError(f"The item table {path} has {len(table)} items; {n_items} are needed.")
    return table
