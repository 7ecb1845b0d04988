"""One attempt at a job: locks the state folder, which survives if the job is killed."""

import contextlib
import errno
import os
import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from gems.errors import GemsError
from gems.runtime.files import read_json, write_json

COUNT = "attempt.json"
LOCK = "lock"
# Kept when the attempt fails: `gems status` and the tracker read them.
NOTES = {"progress.json", "tracking.json"}
# Retries while jobs that end remove a parent folder that they share with this one.
TRIES = 100
# How long to wait for a process that is about to exit.
LOCK_SECONDS = 1.0
# Errors of file systems without locks, such as some Lustre mounts; there the folder stays unlocked.
# A `SoftFileLock` would survive the crash of a node and block the job until someone removes it.
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


def now() -> str:
    """Current time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Attempt:
    """Locks the state folder of a job while open; removes it when the job has succeeded.

    The operating system releases the lock when the process ends, even if it is killed.

    Attributes:
        folder: the state folder.
        number: 1 for the first attempt at the job, 2 after it was killed once, ...
        started: when the first attempt started, ISO 8601.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number, self.started = 1, now()
        self._lock = FileLock(folder / LOCK, timeout=LOCK_SECONDS, fallback_to_soft=False)

    def __enter__(self) -> Self:
        """Lock the folder.

        Raises:
            GemsError: another process runs the same job, or the folder cannot be written.
        """
        try:
            self._acquire()
        except Timeout:
            raise GemsError(self._held()) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise GemsError(f"Cannot write {self.folder}: {error.strerror}.") from error
        previous = self._previous()
        self.number = previous.get("number", 0) + 1
        self.started = previous.get("started", self.started)
        holder = {"pid": os.getpid(), "host": socket.gethostname()}
        count = {"number": self.number, "started": self.started}
        try:
            write_json(self.folder / COUNT, count | holder)
        except GemsError:
            self._release(done=False, failed=True)
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Unlock the folder; remove it if the job succeeded, or failed before saving state."""
        self._release(done=error is None, failed=isinstance(error, GemsError))

    def _release(self, done: bool, failed: bool) -> None:
        stateless = {path.name for path in self.folder.iterdir()} <= {COUNT, LOCK, *NOTES}
        if done:
            # On NFS the open lock file stays in the folder, under another name, until it is closed.
            shutil.rmtree(self.folder, ignore_errors=True)
        elif failed and stateless:
            (self.folder / COUNT).unlink(missing_ok=True)
            (self.folder / LOCK).unlink()
        self._lock.release()
        for folder in (self.folder, *list(self.folder.parents)[:2]):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _previous(self) -> dict[str, Any]:
        with contextlib.suppress(GemsError):
            return dict(read_json(self.folder / COUNT))
        return {}

    def _acquire(self) -> None:
        for _ in range(TRIES - 1):
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                self._lock.acquire()
                return
        self._lock.acquire()

    def _held(self) -> str:
        holder = self._previous()
        if "pid" not in holder:
            return f"This job is already running and holds {self.folder}. Wait for it."
        return (
            f"This job is already running (PID {holder['pid']} on {holder['host']}). "
            f"Wait for it, or stop it with `kill {holder['pid']}`."
        )
