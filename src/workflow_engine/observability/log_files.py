"""Files that several processes append to, for `tail -f`: whole lines, bounded in size, never in the way of the work.

A line, or a batch of lines, is one write to a file opened for appending, so that processes do not cut into each other.
A file that has grown too large is copied and emptied, because `tail -f` does not follow a file that is renamed. Writers
hold a shared lock while they write and the one that empties the file holds it alone, so nothing falls between the copy
and the emptying. Nobody waits for a lock for long: a process that was stopped while it held one must not stop others.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

APP, WORKER, TASKS = "app.log", "worker.log", "tasks.log"
NAMES = (APP, WORKER, TASKS)

_MODE = 0o640  # whoever is in the group may read, as under /var/log
_LOOK_SECONDS = 1.0  # between looks whether the file is still the one that its name means
_RETRY_SECONDS = 60.0  # after a copy failed
_CHUNK = 1024 * 1024
_LOCK_TRIES = 20
_LOCK_PAUSE = 0.0005  # seconds; the lock is held alone for about a millisecond


class LogFile:
    """One file; safe for several threads and several processes.

    Args:
        path: Where. The directory is made again when it has vanished.
        max_bytes: From this size on it is copied to `<name>.1` and emptied.
        backups: Copies that are kept; 0 = it is only emptied.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, path: Path, *, max_bytes: int, backups: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._guard = threading.Lock()
        self._torn = False  # the last write ended within a line
        self._look_at = 0.0
        self._rotate_at = 0.0
        self._file = self._open()

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        status = os.fstat(self._file)
        return status.st_dev, status.st_ino

    def write(self, lines: bytes) -> bool:
        """Append whole lines. False: they could not be written, all or in part, and are dropped."""
        with self._guard:
            try:
                self._follow_name()
                self._rotate_when_full(len(lines))
                locked = self._share()
                try:
                    data = b"\n" + lines if self._torn else lines
                    self._torn = os.write(self._file, data) < len(data)
                finally:
                    if locked:
                        fcntl.flock(self._file, fcntl.LOCK_UN)
            except OSError:
                return False
            return not self._torn

    def close(self) -> None:
        with self._guard, suppress(OSError):
            os.close(self._file)
            self._file = -1  # whoever still writes must not hit a file that gets this number next

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _MODE)

    def _follow_name(self) -> None:
        """Open the file again if somebody has moved or removed it."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        try:
            status = os.stat(self.path)
            same = (status.st_dev, status.st_ino) == self.identity
        except FileNotFoundError:
            same = False
        if not same:
            fresh = self._open()
            os.close(self._file)
            self._file, self._torn = fresh, False

    def _share(self) -> bool:
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE)
            except OSError:  # a file system without locks
                return False
            else:
                return True
        return False

    def _rotate_when_full(self, more: int) -> None:
        size = os.fstat(self._file).st_size
        if size == 0 or size + more <= self._max_bytes or time.monotonic() < self._rotate_at:
            return
        # The name of its own keeps two processes from copying at once; the log itself stays free for writers meanwhile.
        with open(self.path.with_name(f".{self.path.name}.lock"), "wb") as turn:
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if os.fstat(self._file).st_size < size:
                return  # another process was faster
            try:
                self._rotate()
            except OSError:
                self._rotate_at = time.monotonic() + _RETRY_SECONDS
                if size > 2 * self._max_bytes:  # no copy can be made; a log without end is worse than a lost one
                    os.ftruncate(self._file, 0)

    def _rotate(self) -> None:
        copy = self._numbered(0)
        try:
            with open(copy, "wb", opener=_private) as target:
                copied = self._copy_to(target, 0) if self._backups else 0
                self._take_alone()
                try:
                    if self._backups:
                        self._copy_to(target, copied)  # what came in meanwhile
                        target.flush()
                    os.ftruncate(self._file, 0)
                finally:
                    fcntl.flock(self._file, fcntl.LOCK_UN)
            for number in reversed(range(self._backups)):
                with suppress(FileNotFoundError):
                    self._numbered(number).replace(self._numbered(number + 1))
        finally:
            copy.unlink(missing_ok=True)

    def _copy_to(self, target: IO[bytes], position: int) -> int:
        while chunk := os.pread(self._file, _CHUNK, position):
            target.write(chunk)
            position += len(chunk)
        return position

    def _take_alone(self) -> None:
        for _ in range(_LOCK_TRIES):
            with suppress(BlockingIOError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(_LOCK_PAUSE)
        raise BlockingIOError("a writer holds the lock; it is stopped, most likely")

    def _numbered(self, number: int) -> Path:
        """`app.log.1` and so on; 0 is the copy in the making."""
        return self.path.with_name(f"{self.path.name}.{number}" if number else f".{self.path.name}.copy")


def open_log_files(directory: Path, *, max_bytes: int, backups: int) -> dict[str, LogFile]:
    """All three files by name, so that `tail -f` finds each whatever runs on this machine.

    Raises:
        OSError: The directory cannot be made or written to.
    """
    return {name: LogFile(directory / name, max_bytes=max_bytes, backups=backups) for name in NAMES}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, _MODE)
