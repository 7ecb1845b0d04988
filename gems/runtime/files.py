"""Atomic writing, JSON and digests of files."""

import contextlib
import glob
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gems.errors import GemsError


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; rename it to ``path`` on success.

    A reader, or the next attempt at a killed job, sees the old file or the new one, never a
    partial one. Missing folders are created.

    Raises:
        GemsError: the file cannot be written (full disk, read-only folder).
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):  # of a killed job
            leftover.unlink(missing_ok=True)
        new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        new.touch(exist_ok=False)  # with the permissions of any new file, unlike mkstemp
        temporary = new
        yield temporary
        flush_to_disk(temporary)
        temporary.replace(path)
    except Exception as error:
        cause = _disk_error(error)
        if cause is None:
            raise
        raise GemsError(f"Cannot write {path}: {cause.strerror or cause}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Wait until the contents are on disk, so that a crash cannot leave a renamed, empty file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _disk_error(error: BaseException | None) -> OSError | None:
    """The write error that caused ``error``; torch.save wraps it in a RuntimeError."""
    while isinstance(error, RuntimeError):
        error = error.__context__
    return error if isinstance(error, OSError) else None


def relative(path: Path, folder: Path) -> str:
    """Relative path from a folder to a file, with symbolic links resolved."""
    return os.path.relpath(path.resolve(), folder.resolve())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON; keys are sorted, so that equal values give equal bytes."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        GemsError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise GemsError(f"{path} does not exist.") from None
    except (OSError, ValueError) as error:
        raise GemsError(f"{path} is not a readable JSON file: {error}.") from error


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
