"""Logged data on disk: slates and clicks as memory-mapped arrays, never loaded whole.

A dataset is a folder: ``slates.npy`` int16 (users, turns, slate size), int32 for more than 32,768
items; ``clicks.npy`` uint8 (users, turns, bytes) with the clicks of a slate packed to bits; and
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

from gems.errors import GemsError
from gems.files import read_json, write_json, written_whole
from gems.simulator.items import item_dtype
from gems.simulator.kernels import SLATE_SIZE


class Slates(NamedTuple):
    """Slates (..., slate size) int64 and their clicks (..., slate size) float32."""

    items: NDArray[np.int64]
    clicks: NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """A logged dataset, opened for reading.

    Attributes:
        folder: where it lies.
        packed_slates: (users, turns, slate size) int16 or int32, memory-mapped.
        packed_clicks: (users, turns, bytes) uint8, memory-mapped.
        meta: what ``dataset.json`` says of its making.
    """

    folder: Path
    packed_slates: NDArray[np.signedinteger]
    packed_clicks: NDArray[np.uint8]
    meta: dict[str, Any]

    @property
    def users(self) -> int:
        """Number of logged users."""
        return self.packed_slates.shape[0]

    @property
    def turns(self) -> int:
        """Slates of each user."""
        return self.packed_slates.shape[1]

    @cached_property
    def _flat(self) -> tuple[NDArray[np.signedinteger], NDArray[np.uint8]]:
        n = self.users * self.turns
        return self.packed_slates.reshape(n, -1), self.packed_clicks.reshape(n, -1)

    def read(self, index: slice | NDArray[np.int64]) -> Slates:
        """Read slates by their number, user after user, turn after turn."""
        slates, clicks = self._flat
        bits = np.unpackbits(clicks[index], axis=-1, count=SLATE_SIZE)
        return Slates(slates[index].astype(np.int64), bits.astype(np.float32))

    def clicked_pairs(self, users: slice) -> tuple[NDArray[np.int32], NDArray[np.signedinteger]]:
        """All (user, clicked item) pairs of ``users``, in order of user, turn and rank."""
        clicks = np.unpackbits(self.packed_clicks[users], axis=-1, count=SLATE_SIZE)
        user, turn, rank = np.nonzero(clicks)
        items = self.packed_slates[users][user, turn, rank]
        return (user + users.indices(self.users)[0]).astype(np.int32), items


def write(folder: Path, users: int, turns: int, chunks: Any, meta: dict[str, Any]) -> None:
    """Write a dataset from an iterator of (slates, clicks) chunks, each (some users, turns, size).

    Raises:
        GemsError: the folder cannot be written.
    """
    packed, dtype = (users, turns, (SLATE_SIZE + 7) // 8), item_dtype(meta["items"])
    contents = hashlib.sha256(), hashlib.sha256()
    # Plain writes, not a memory map: on a full disk a map ends the process by a signal.
    with (
        written_whole(folder / "slates.npy") as slates_path,
        written_whole(folder / "clicks.npy") as clicks_path,
        slates_path.open("wb") as slates_file,
        clicks_path.open("wb") as clicks_file,
    ):
        _write_header(slates_file, dtype, (users, turns, SLATE_SIZE))
        _write_header(clicks_file, np.dtype(np.uint8), packed)
        for slates, clicks in chunks:
            parts = slates.astype(dtype).tobytes(), np.packbits(clicks, axis=-1).tobytes()
            for part, file, digest in zip(parts, (slates_file, clicks_file), contents, strict=True):
                file.write(part)
                digest.update(part)
        (folder / "dataset.json").unlink(missing_ok=True)
    described = {"users": users, "turns": turns, **meta}
    sha256 = _combined(contents, described)
    write_json(folder / "dataset.json", {**described, "sha256": sha256})


def _combined(contents: Iterable[Any], described: dict[str, Any]) -> str:
    """One digest from the hashes of slates and clicks and their description."""
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for part in contents:
        digest.update(part.digest())
    return digest.hexdigest()


def _write_header(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    described = {"descr": dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    write_array_header_1_0(file, described)


def validation_users(users: int, fraction: float) -> int:
    """How many of the first users validate: about ``fraction``, but some, and not all."""
    return min(max(1, round(users * fraction)), users - 1)


def read(folder: Path) -> Dataset:
    """Open a dataset and check that it is whole: the contents are read once, 1 GB a second.

    Raises:
        GemsError: a file is missing, damaged, or of another shape or kind.
    """
    meta = read_json(folder / "dataset.json")
    if not isinstance(meta, dict) or not {"users", "turns", "items", "sha256"} <= meta.keys():
        raise GemsError(f"{folder / 'dataset.json'} does not describe a dataset.")
    shape = (meta["users"], meta["turns"])
    slates = _open(folder / "slates.npy", item_dtype(meta["items"]), (*shape, SLATE_SIZE))
    clicks = _open(folder / "clicks.npy", np.dtype(np.uint8), (*shape, (SLATE_SIZE + 7) // 8))
    contents = (hashlib.sha256(array.reshape(-1).data) for array in (slates, clicks))
    described = {name: value for name, value in meta.items() if name != "sha256"}
    if _combined(contents, described) != meta["sha256"]:
        raise GemsError(f"The dataset {folder} is damaged: its contents are not those written.")
    return Dataset(folder, slates, clicks, meta)


def _open(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if not path.is_file():
        raise GemsError(f"{path} does not exist.")
    try:
        array = open_memmap(path, mode="r")
    except Exception as error:  # a damaged header can break its parser in many ways
        raise GemsError(f"{path} is damaged or is not a .npy array.") from error
    if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
        raise GemsError(f"{path} holds {array.dtype} {array.shape}; {dtype} {shape} is needed.")
    return array
