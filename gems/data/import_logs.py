"""Import of logged slates and clicks from files of other systems.

A file has one row per slate, with the columns ``user``, ``slate`` and ``clicks`` and possibly
``turn``; or one row per item, with ``user``, ``turn``, ``position``, ``item`` and ``click``. Rows
may come in any order.
"""

import contextlib
import csv
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gems.data import dataset, log_files
from gems.data.dataset import Dataset
from gems.data.log_layouts import ItemRows, Logged, SlateRows
from gems.errors import GemsError
from gems.runtime.files import sha256, written_whole

# Columns of each layout, by role, which is also the name by default.
LAYOUTS = {
    "slates": ("user", "slate", "clicks"),
    "items": ("user", "turn", "position", "item", "click"),
}
ROLES = tuple(dict.fromkeys([*LAYOUTS["slates"], *LAYOUTS["items"]]))
WRITE_SLATES = 65_536


def import_logs(
    file: str | Path,
    folder: str | Path,
    *,
    layout: str | None = None,
    columns: Mapping[str, str] | None = None,
    items: int | None = None,
) -> Dataset:
    """Convert a log to a dataset that the slate VAE and matrix factorisation train on.

    Users are numbered in order of first appearance; items by id, in numerical order if all ids are
    whole numbers and in alphabetical order otherwise. ``users.csv`` and ``items.csv`` in the folder
    hold the ids by number. Whole numbers and times in the column ``turn`` order the slates of a
    user; with other values, or without this column, the order of the file does.

    Args:
        file: .parquet, .csv, .jsonl or .ndjson file; the text formats also as .gz.
        folder: folder of the dataset; an earlier dataset is replaced.
        layout: ``slates`` for one row per slate, ``items`` for one row per item; by default the
            columns decide.
        columns: names of columns by role: ``user``, ``slate``, ``clicks``, ``turn``, ``item``,
            ``position`` and ``click``. By default a role is the name of its column.
        items: number of items, if the log numbers them from 0 to ``items`` - 1 already; some may
            never occur.

    Raises:
        GemsError: the file cannot be read, or a row does not fit; nothing is written then.
    """
    file, folder = Path(file), Path(folder)
    if items is not None and items < 1:
        raise GemsError(f"items must be a positive number of items, not {items}.")
    layout, names = _layout(file, layout, dict(columns or {}))
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with dataset.replaced(folder) as new, tempfile.TemporaryFile(dir=folder) as waiting:
            logged = (SlateRows if layout == "slates" else ItemRows)(file, names, items, waiting)
            _write(new, logged.read(), _meta(file, layout, names))
    finally:
        for path in absent:
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
    return dataset.read(folder)


def _layout(file: Path, layout: str | None, columns: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The layout of a file, and the names of its columns by role."""
    present = log_files.columns_of(file)
    if wrong := sorted({*columns} - {*ROLES}) or sorted({layout or "items"} - {*LAYOUTS}):
        allowed = f"Columns: {', '.join(ROLES)}. Layouts: {', '.join(LAYOUTS)}."
        raise GemsError(f"{wrong[0]!r} is neither a column nor a layout of logs. {allowed}")
    needed = {kind: {role: columns.get(role, role) for role in LAYOUTS[kind]} for kind in LAYOUTS}
    if layout is not None:
        needed = {layout: needed[layout]}
    fits = [kind for kind, names in needed.items() if {*names.values()} <= {*present}]
    if len(fits) > 1:
        raise GemsError(f"{file.name} has the columns of both layouts; give --layout slates|items.")
    if not fits:
        raise GemsError(_lacking(file, present, needed))
    names = needed[fits[0]]
    if "turn" in columns or "turn" in present:
        names |= {"turn": columns.get("turn", "turn")}
    for role, name in names.items():
        if name not in present:
            columns_there = ", ".join(present)
            raise GemsError(f"{file.name} has no column {name!r} (--{role}), but {columns_there}.")
        if (count := present.count(name)) > 1:
            raise GemsError(f"{file.name} has {count} columns {name!r}; --{role} must name one.")
    return fits[0], names


def _lacking(file: Path, present: Sequence[str], needed: dict[str, dict[str, str]]) -> str:
    """Message about the columns that a file lacks, for each layout that it may have."""
    if len(present) == 1 and any(mark in present[0] for mark in ";\t|"):
        return f"{file.name} has one column, {present[0]!r}; separate columns by commas."
    lacks = [
        ", ".join(f"{name!r} (--{role})" for role, name in names.items() if name not in present)
        for names in needed.values()
    ]
    described = " and, for one row per slate or one row per item, lacks " * (len(lacks) > 1)
    return (
        f"{file.name} has the columns {', '.join(present)}{described or ' and lacks '}"
        f"{' or '.join(lacks)}; name the columns by these options."
    )


def _meta(file: Path, layout: str, names: dict[str, str]) -> dict[str, Any]:
    described = {"layout": layout, "columns": names}
    return {"source": file.name, "source_sha256": sha256(file), **described}


def _write(folder: Path, logged: Logged, meta: dict[str, Any]) -> None:
    for name, ids in (("user", logged.user_ids), ("item", logged.item_ids)):
        with (
            written_whole(folder / f"{name}s.csv") as path,
            path.open("w", encoding="utf-8", newline="") as file,
        ):
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow((name, "id"))
            rows.writerows(enumerate(ids))
    (slates, size), users = logged.slates.shape, len(logged.turns)
    meta |= {"items": len(logged.item_ids), "slates": slates}
    turns = int(logged.turns[0])
    if (logged.turns == turns).all():
        shape: tuple[int, ...] = (users, turns, size)
        dataset.write(folder, shape, _chunks(logged, shape), meta)
    else:
        starts = np.concatenate([[0], np.cumsum(logged.turns)])
        dataset.write(folder, (slates, size), _chunks(logged, (slates, size)), meta, starts)


def _chunks(logged: Logged, shape: tuple[int, ...]) -> Iterator[tuple[NDArray[Any], ...]]:
    slates, clicks = logged.slates.reshape(shape), logged.clicks.reshape(shape)
    some = max(1, WRITE_SLATES // (shape[1] if len(shape) > 2 else 1))
    for start in range(0, shape[0], some):
        yield slates[start : start + some], clicks[start : start + some]
