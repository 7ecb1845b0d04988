"""Files written whole or not at all."""

import contextlib
import glob
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gems.errors import GemsError


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of ``path``; rename it to ``path`` on success.

    A reader, or the next try of a killed job, therefore sees the old file or the new one,
    never half of one. Missing folders are made.

    Raises:
        GemsError: the file cannot be written (full disk, read-only folder).
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left_by_a_killed_job in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            left_by_a_killed_job.unlink(missing_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        os.fchmod(handle, 0o666 & ~_umask())
        os.close(handle)
        yield temporary
        _reach_the_disk(temporary)
        temporary.replace(path)
    except Exception as error:
        cause = _disk_error(error)
        if cause is None:
            raise
        raise GemsError(f"Cannot write {path}: {cause.strerror or cause}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _reach_the_disk(path: Path) -> None:
    """Wait until the contents are on the disk, so that a crash cannot rename an empty file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _disk_error(error: BaseException | None) -> OSError | None:
    """The failure to write behind ``error``: torch.save hides it behind one of its own."""
    while isinstance(error, RuntimeError):
        error = error.__context__
    return error if isinstance(error, OSError) else None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def relative(path: Path, folder: Path) -> str:
    """The way from a folder to a file, whatever symbolic links lead to either."""
    return os.path.relpath(path.resolve(), folder.resolve())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys, so that equal values give equal bytes."""
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
