"""Item tables from files, in place of those of matrix factorisation."""

from pathlib import Path

import torch

from gems.arrays import read_table
from gems.errors import GemsError
from gems.provenance import sha256
from gems.weights import save_weights


def import_table(source: Path, n_items: int, output: Path) -> None:
    """Save the item table of a file as ``load_items`` reads it.

    Args:
        source: .npy, .pt or .safetensors file.
        n_items: number of items of the simulator.
        output: .safetensors file to write, with its configuration beside it.

    Raises:
        GemsError: the file is missing, damaged, or of another number of items.
    """
    table = read_table(source, "item table")
    if len(table) != n_items:
        raise GemsError(f"{source} holds {len(table)} items, but items.count is {n_items}.")
    config = {"source": str(source), "sha256": sha256(source), "items": n_items}
    save_weights(output, {"items": torch.from_numpy(table)}, config)
