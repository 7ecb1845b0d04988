"""Item tables on disk."""

from pathlib import Path

from torch import Tensor

from gems.errors import GemsError
from gems.sections import MFConfig
from gems.weights import load_config, load_weights


def load_items(
    path: Path, n_items: int, config: MFConfig, imported_from: str | None = None
) -> Tensor:
    """Item embeddings (items, dim) of matrix factorisation, or of a user's own making.

    Args:
        path: .safetensors file.
        n_items: number of items that it has to have.
        config: options that a factorisation has to have been made with.
        imported_from: file that the table has to have been imported from, if from any.

    Raises:
        GemsError: the file is missing or damaged, or its table is another one.
    """
    table = load_weights(path).get("items")
    if table is None or table.ndim != 2:
        raise GemsError(f"{path} does not hold an item table.")
    if len(table) != n_items:
        raise GemsError(f"The item table {path} has {len(table)} items; {n_items} are needed.")
    described = load_config(path)
    source = described.get("source")
    if source != imported_from:
        origin = "was not imported" if source is None else f"was imported from {source}"
        raise GemsError(
            f"The item table {path} {origin}, but mf.files names {imported_from or 'no file'} for "
            "this environment; make the table again with gems mf."
        )
    made = described.get("mf")
    if made is not None and made.get("validation") != config.validation:
        raise GemsError(
            f"The item table {path} was made with mf.validation {made.get('validation')}; "
            f"{config.validation} is needed."
        )
    return table
