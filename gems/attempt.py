"""One try of a job that can be killed: its state folder, held by one process at a time."""

import contextlib
import errno
import fcntl
import os
import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gems.errors import GemsError
from gems.files import read_json, write_json

COUNT = "attempt.json"
LOCK = "lock"
# What tells `gems status` that the job has failed, and the tracker which run to take up; kept.
NOTES = {"progress.json", "tracking.json"}
# How often to try again when another job, which ends, removes a common parent folder.
TRIES = 100
# What file systems without locks say, as Lustre may be: there, nothing guards the folder.
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Attempt:
    """Holds the state folder of a job while open; removes it when the job has succeeded.

    The lock is the kernel's, so it ends with the process, however that ends.

    Attributes:
        folder: what is in it survives a kill.
        number: 1 for the first try of the job, 2 after it was killed once, ...
        started: when the first try started, ISO 8601.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is made until the attempt is entered."""
        self.folder = folder
        self.number, self.started = 1, now()

    def __enter__(self) -> Self:
        """Take the folder.

        Raises:
            GemsError: another process works on the same job, or the folder cannot be written.
        """
        try:
            self._lock = self._locked()
        except OSError as error:
            raise GemsError(f"Cannot write {self.folder}: {error.strerror}.") from error
        before = self._before()
        self.number, self.started = before.get("number", 0) + 1, before.get("started", self.started)
        try:
            write_json(self.folder / COUNT, {"number": self.number, "started": self.started})
        except GemsError:
            self._leave(done=False)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the folder go: without its state if the job is done, or has refused its inputs."""
        self._leave(done=error is None, refused=isinstance(error, GemsError))

    def _leave(self, done: bool, refused: bool = True) -> None:
        stateless = {path.name for path in self.folder.iterdir()} <= {COUNT, LOCK, *NOTES}
        if done:
            # On NFS the open lock stays in its folder, under another name, until it is closed.
            shutil.rmtree(self.folder, ignore_errors=True)
        elif refused and stateless:
            (self.folder / COUNT).unlink(missing_ok=True)
            (self.folder / LOCK).unlink()
        os.close(self._lock)
        for folder in (self.folder, *list(self.folder.parents)[:2]):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _before(self) -> dict[str, Any]:
        with contextlib.suppress(GemsError):
            return dict(read_json(self.folder / COUNT))
        return {}

    def _locked(self) -> int:
        path = self.folder / LOCK
        while True:
            lock = self._opened(path)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(lock, 200).decode(errors="replace")
                os.close(lock)
                raise GemsError(
                    f"{holder or 'Another process'} works on this job already and holds "
                    f"{self.folder}; wait for it, or end it by kill and try again."
                ) from None
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
            # The last holder may have removed the file between our opening and locking it.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), path.stat()):
                    break
            os.close(lock)
        with contextlib.suppress(OSError):  # a full disk: who holds it is told to nobody
            os.truncate(lock, 0)
            os.write(lock, f"Process {os.getpid()} on {socket.gethostname()}".encode())
        return lock

    def _opened(self, path: Path) -> int:
        for left in reversed(range(TRIES)):
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            except (FileNotFoundError, FileExistsError):
                if not left:
                    raise
        raise AssertionError
