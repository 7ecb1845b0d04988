"""Import of item tables from files, instead of matrix factorisation."""

from pathlib import Path

import torch

from gems.errors import GemsError
from gems.runtime.arrays import read_table
from gems.runtime.files import sha256
from gems.runtime.weights import save_weights


def import_table(source: Path, n_items: int | None, output: Path) -> None:
    """Convert a .npy, .pt or .safetensors file to the format that ``load_items`` reads.

    Raises:
        GemsError: the file is missing or damaged, or has another number of items.
    """
    table = read_table(source, "item table")
    if n_items is not None and len(table) != n_items:
        raise GemsError(f"{source} holds {len(table)} items, but items.count is {n_items}.")
    config = {"source": str(source), "source_sha256": sha256(source), "items": len(table)}
    save_weights(output, {"items": torch.from_numpy(table)}, config)
