"""Logged data on disk: slates and clicks as memory-mapped arrays, never loaded whole.

A dataset is a folder with ``slates.npy``, int16 (users, turns, slate size), or int32 for more than
32,768 items; ``clicks.npy``, uint8 (users, turns, bytes), the clicks of a slate packed to bits; and
``dataset.json``, which is written last. 10 million slates take 220 MB.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib.format import dtype_to_descr, open_memmap, write_array_header_1_0
from numpy.typing import NDArray

from gems.envs.items import item_dtype
from gems.errors import GemsError
from gems.runtime.files import read_json, write_json, written_whole


class Slates(NamedTuple):
    """Slates, int64, and their clicks, float32, both (m, slate size)."""

    items: NDArray[np.int64]
    clicks: NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """A logged dataset, opened for reading.

    Attributes:
        folder: its folder.
        packed_slates: (users, turns, slate size) int16 or int32, memory-mapped.
        packed_clicks: (users, turns, bytes) uint8, memory-mapped.
        meta: contents of ``dataset.json``, such as ``items``, the number of items.
    """

    folder: Path
    packed_slates: NDArray[np.signedinteger]
    packed_clicks: NDArray[np.uint8]
    meta: dict[str, Any]

    @property
    def users(self) -> int:
        return self.packed_slates.shape[0]

    @property
    def turns(self) -> int:
        return self.packed_slates.shape[1]

    @property
    def slate_size(self) -> int:
        return self.packed_slates.shape[2]

    @cached_property
    def _flat(self) -> tuple[NDArray[np.signedinteger], NDArray[np.uint8]]:
        n = self.users * self.turns
        return self.packed_slates.reshape(n, -1), self.packed_clicks.reshape(n, -1)

    def read(self, index: slice | NDArray[np.int64]) -> Slates:
        """Read slates (m, slate size) by number; they are numbered by user, then by turn."""
        slates, clicks = self._flat
        bits = np.unpackbits(clicks[index], axis=-1, count=self.slate_size)
        return Slates(slates[index].astype(np.int64), bits.astype(np.float32))

    def clicked_pairs(self, users: slice) -> tuple[NDArray[np.int32], NDArray[np.signedinteger]]:
        """Users (m,) and items (m,) of all clicks of ``users``, by user, turn and rank."""
        clicks = np.unpackbits(self.packed_clicks[users], axis=-1, count=self.slate_size)
        user, turn, rank = np.nonzero(clicks)
        items = self.packed_slates[users][user, turn, rank]
        return (user + users.indices(self.users)[0]).astype(np.int32), items


def write(folder: Path, shape: tuple[int, int, int], chunks: Any, meta: dict[str, Any]) -> None:
    """Write a dataset.

    Args:
        folder: its folder.
        shape: (users, turns, slate size).
        chunks: iterable of slates and clicks, both (some users, turns, slate size).
        meta: what to save in ``dataset.json``; the number of ``items`` is needed.

    Raises:
        GemsError: the folder cannot be written.
    """
    (users, turns, size), dtype = shape, item_dtype(meta["items"])
    contents = hashlib.sha256(), hashlib.sha256()
    # Not a memory map: on a full disk, writing to one kills the process with a signal.
    with (
        written_whole(folder / "slates.npy") as slates_path,
        written_whole(folder / "clicks.npy") as clicks_path,
        slates_path.open("wb") as slates_file,
        clicks_path.open("wb") as clicks_file,
    ):
        _write_header(slates_file, dtype, shape)
        _write_header(clicks_file, np.dtype(np.uint8), (users, turns, (size + 7) // 8))
        for slates, clicks in chunks:
            parts = slates.astype(dtype).tobytes(), np.packbits(clicks, axis=-1).tobytes()
            for part, file, digest in zip(parts, (slates_file, clicks_file), contents, strict=True):
                file.write(part)
                digest.update(part)
        (folder / "dataset.json").unlink(missing_ok=True)
    meta = {"users": users, "turns": turns, **meta}
    write_json(folder / "dataset.json", {**meta, "sha256": _sha256(contents, meta)})


def _sha256(contents: Iterable[Any], meta: dict[str, Any]) -> str:
    """Digest of ``meta`` and of the hashes of slates and clicks."""
    digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for part in contents:
        digest.update(part.digest())
    return digest.hexdigest()


def _write_header(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    header = {"descr": dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    write_array_header_1_0(file, header)


def validation_users(users: int, fraction: float) -> int:
    """Number of first users held out for validation: about ``fraction``, at least 1, never all."""
    return min(max(1, round(users * fraction)), users - 1)


def read(folder: Path) -> Dataset:
    """Open a dataset after a check of its digest, which reads all of it, at about 1 GB/s.

    Raises:
        GemsError: a file is missing, damaged, or has another shape or type.
    """
    meta = read_json(folder / "dataset.json")
    if not isinstance(meta, dict) or not {"users", "turns", "items", "sha256"} <= meta.keys():
        raise GemsError(f"{folder / 'dataset.json'} does not describe a dataset; make it again.")
    shape = (meta["users"], meta["turns"])
    slates = _open(folder / "slates.npy", item_dtype(meta["items"]), (*shape, None))
    packed = *shape, (slates.shape[2] + 7) // 8
    clicks = _open(folder / "clicks.npy", np.dtype(np.uint8), packed)
    contents = (hashlib.sha256(array.reshape(-1).data) for array in (slates, clicks))
    written = {name: value for name, value in meta.items() if name != "sha256"}
    if _sha256(contents, written) != meta["sha256"]:
        raise GemsError(
            f"The dataset {folder} is damaged: its contents are not those written. Make it again."
        )
    return Dataset(folder, slates, clicks, meta)


def _open(path: Path, dtype: np.dtype[Any], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Memory-map an array of this type and shape, in which None is any size."""
    if not path.is_file():
        raise GemsError(f"{path} does not exist; make the dataset again.")
    try:
        array = open_memmap(path, mode="r")
    except Exception as error:  # a damaged header raises many kinds of errors
        raise GemsError(
            f"{path} is damaged or is not a .npy array; make the dataset again."
        ) from error
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, size) for size, wanted in zip(array.shape, shape, strict=True)
    )
    if array.dtype != dtype or not fits or not array.flags.c_contiguous:
        needed = str(shape).replace("None", "slate size")
        raise GemsError(f"{path} holds {array.dtype} {array.shape}; {dtype} {needed} is needed.")
    return array
