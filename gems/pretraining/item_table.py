"""Loading of pretrained item tables."""

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from gems.errors import GemsError
from gems.runtime.weights import load_config, load_weights
from gems.sections import MFConfig

if TYPE_CHECKING:
    from gems.methods import Context


def load_items(
    path: Path, n_items: int, config: MFConfig, imported_from: str | None = None
) -> Tensor:
    """Item embeddings (items, dim), from matrix factorisation or imported.

    Args:
        path: .safetensors file.
        n_items: expected number of items.
        config: expected options of the factorisation.
        imported_from: expected source file of an imported table; None if it was factorised.

    Raises:
        GemsError: the file is missing or damaged, or differs from what is expected.
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
            "this environment. Make it again with `gems pretrain --model mf`."
        )
    options = described.get("mf")
    if options is not None and options.get("validation") != config.validation:
        raise GemsError(
            f"The item table {path} was made with mf.validation {options.get('validation')}; "
            f"{config.validation} is needed."
        )
    return table


def item_table(context: "Context") -> Tensor:
    """The pretrained item table of a method, (items, dim).

    Raises:
        GemsError: no table was given, or as for ``load_items``.
    """
    mf = context.options(MFConfig)
    source = mf.files.get(context.environment)
    return load_items(context.require("mf"), context.n_items, mf, source)
