"""Logged data on disk: slates and clicks as memory-mapped arrays, never loaded whole.

A dataset is a folder with ``slates.npy``, int16 (users, turns, slate size), or int32 for more than
32,768 items; ``clicks.npy``, uint8 (users, turns, bytes), the clicks of a slate packed to bits; and
``dataset.json``, which is written last. 10 million slates take 220 MB.

If users have different numbers of turns, both arrays have one axis, slates, instead of users and
turns; ``starts.npy``, int64 (users + 1,), holds the number of each user's first slate and, at the
end, that of all slates; and ``turns`` is null in ``dataset.json``.
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib.format import dtype_to_descr, open_memmap, write_array_header_1_0
from numpy.typing import NDArray

from gems.envs.items import item_dtype
from gems.errors import GemsError
from gems.runtime.files import flush_to_disk, read_json, write_json, written_whole

# What an earlier dataset may leave in a folder, beside arrays that every dataset has.
LEFTOVERS = (
    *("dataset.json", "provenance.json", "starts.npy"),
    *("users.csv", "items.csv", "d4rl.npz", "minari"),
)


class Slates(NamedTuple):
    """Slates, int64, and their clicks, float32, both (m, slate size)."""

    items: NDArray[np.int64]
    clicks: NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """A logged dataset, opened for reading.

    Attributes:
        folder: its folder.
        packed_slates: (users, turns, slate size), or (slates, slate size) if users have different
            numbers of turns; int16 or int32, memory-mapped.
        packed_clicks: (users, turns, bytes) or (slates, bytes) uint8, memory-mapped.
        starts: (users + 1,) int64; the slates of user u are ``starts[u]`` to ``starts[u + 1] - 1``.
        meta: contents of ``dataset.json``, such as ``items``, the number of items.
    """

    folder: Path
    packed_slates: NDArray[np.signedinteger]
    packed_clicks: NDArray[np.uint8]
    starts: NDArray[np.int64]
    meta: dict[str, Any]

    @property
    def users(self) -> int:
        return len(self.starts) - 1

    @property
    def turns(self) -> int | None:
        """Number of turns of every user; None if they differ."""
        return self.packed_slates.shape[1] if self.packed_slates.ndim == 3 else None

    @property
    def slates(self) -> int:
        return self.slates_of_first(self.users)

    @property
    def slate_size(self) -> int:
        return self.packed_slates.shape[-1]

    def slates_of_first(self, users: int) -> int:
        """Number of slates of the first ``users``, whose slates come first."""
        return int(self.starts[users])

    @cached_property
    def _flat(self) -> tuple[NDArray[np.signedinteger], NDArray[np.uint8]]:
        n = self.slates
        return self.packed_slates.reshape(n, -1), self.packed_clicks.reshape(n, -1)

    def read(self, index: slice | NDArray[np.int64]) -> Slates:
        """Read slates (m, slate size) by number; they are numbered by user, then by turn."""
        slates, clicks = self._flat
        bits = np.unpackbits(clicks[index], axis=-1, count=self.slate_size)
        return Slates(slates[index].astype(np.int64), bits.astype(np.float32))

    def clicked_pairs(self, users: slice) -> tuple[NDArray[np.int32], NDArray[np.signedinteger]]:
        """Users (m,) and items (m,) of all clicks of ``users``, by user, turn and rank."""
        first, last, _ = users.indices(self.users)
        last = max(first, last)
        among = slice(self.starts[first], self.starts[last])
        slates, packed = self._flat
        clicks = np.unpackbits(packed[among], axis=-1, count=self.slate_size)
        turns = np.diff(self.starts[first : last + 1])
        user = np.repeat(np.arange(first, last, dtype=np.int32), turns)
        slate, rank = np.nonzero(clicks)
        return user[slate], slates[among][slate, rank]


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yield a new folder, whose files become the dataset in ``folder`` if the block succeeds.

    Nothing of an earlier dataset stays; ``dataset.json`` comes last. Otherwise ``folder`` is as it
    was.

    Raises:
        GemsError: the folder cannot be written (full disk, read-only folder).
    """
    new = folder / f".{secrets.token_hex(4)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*.tmp"):  # of a killed job
            _remove(leftover)
        new.mkdir()
        yield new
        for path in new.rglob("*"):
            if path.is_file():
                flush_to_disk(path)
        for name in LEFTOVERS:
            _remove(folder / name)
        for path in sorted(new.iterdir(), key=lambda path: path.name == "dataset.json"):
            path.replace(folder / path.name)
    except OSError as error:
        raise GemsError(f"Cannot write {folder}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write(
    folder: Path,
    shape: tuple[int, ...],
    chunks: Any,
    meta: dict[str, Any],
    starts: NDArray[np.int64] | None = None,
) -> None:
    """Write a dataset.

    Args:
        folder: its folder.
        shape: (users, turns, slate size); with ``starts``, (slates, slate size).
        chunks: iterable of slates and clicks, both like ``shape`` but for the first axis.
        meta: what to save in ``dataset.json``; the number of ``items`` is needed.
        starts: see ``Dataset``; needed if users have different numbers of turns.

    Raises:
        GemsError: the folder cannot be written.
    """
    dtype = item_dtype(meta["items"])
    contents = [hashlib.sha256(), hashlib.sha256()]
    if starts is None:
        meta = {"users": shape[0], "turns": shape[1], **meta}
    else:
        meta = {"users": len(starts) - 1, "turns": None, "slates": shape[0], **meta}
    # Not a memory map: on a full disk, writing to one kills the process with a signal.
    with (
        written_whole(folder / "slates.npy") as slates_path,
        written_whole(folder / "clicks.npy") as clicks_path,
        slates_path.open("wb") as slates_file,
        clicks_path.open("wb") as clicks_file,
    ):
        write_header(slates_file, dtype, shape)
        write_header(clicks_file, np.dtype(np.uint8), (*shape[:-1], (shape[-1] + 7) // 8))
        for slates, clicks in chunks:
            parts = slates.astype(dtype).tobytes(), np.packbits(clicks, axis=-1).tobytes()
            for part, file, digest in zip(parts, (slates_file, clicks_file), contents, strict=True):
                file.write(part)
                digest.update(part)
        (folder / "dataset.json").unlink(missing_ok=True)
    if starts is None:
        (folder / "starts.npy").unlink(missing_ok=True)
    else:
        with written_whole(folder / "starts.npy") as path, path.open("wb") as file:
            np.save(file, starts)
        contents.append(hashlib.sha256(starts.data))
    write_json(folder / "dataset.json", {**meta, "sha256": _sha256(contents, meta)})


def _sha256(contents: Iterable[Any], meta: dict[str, Any]) -> str:
    """Digest of ``meta`` and of the hashes of slates and clicks."""
    digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for part in contents:
        digest.update(part.digest())
    return digest.hexdigest()


def write_header(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Begin a .npy file, to which the array's bytes are then appended."""
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
    users, turns = meta["users"], meta["turns"]
    shape = (users, turns) if turns is not None else (meta.get("slates"),)
    slates = _open(folder / "slates.npy", item_dtype(meta["items"]), (*shape, None))
    packed = *shape, (slates.shape[-1] + 7) // 8
    arrays = [slates, _open(folder / "clicks.npy", np.dtype(np.uint8), packed)]
    if turns is None:
        arrays.append(_open(folder / "starts.npy", np.dtype(np.int64), (users + 1,)))
    contents = (hashlib.sha256(array.reshape(-1).data) for array in arrays)
    written = {name: value for name, value in meta.items() if name != "sha256"}
    if _sha256(contents, written) != meta["sha256"]:
        raise GemsError(
            f"The dataset {folder} is damaged: its contents are not those written. Make it again."
        )
    starts = np.arange(users + 1) * turns if turns is not None else np.array(arrays[2])
    return Dataset(folder, slates, arrays[1], starts, meta)


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
