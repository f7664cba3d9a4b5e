"""Where log lines end: stdout always, and the files of `LOG_DIR` where there are any."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Literal

from workflow_engine.observability.log_files import APP, TASKS, WORKER, LogFile

LogFormat = Literal["logfmt", "json"]


class Output:
    """The ends of this process' lines. Safe for several threads; nothing here raises or waits for a disk that is full.

    Args:
        files: By name; empty = stdout only.
        role: Chooses the file that repeats what stdout gets: an engine's `app.log`, a worker's `worker.log`.
        log_format: Of every line.
        level: Least level that goes to stdout and to that file, as `logging` numbers it.
        complain: Makes a line of a warning about a file.
    """

    def __init__(
        self,
        files: Mapping[str, LogFile],
        *,
        role: str,
        log_format: LogFormat,
        level: int,
        complain: Callable[[str, str], str],
    ) -> None:
        self.role = role
        self.log_format = log_format
        self.level = level
        self._files = files
        self._main = files.get(WORKER if role == "worker" else APP)
        self._tasks = files.get(TASKS)
        self._complain = complain
        self._failing: set[str] = set()
        self._guard = threading.Lock()
        # `dev` lets stdout and stderr end in the same file, so that crashes are found there too.
        self._stdout = self._main is None or _stdout_identity() != self._main.identity

    @property
    def has_tasks_file(self) -> bool:
        return self._tasks is not None

    def write(self, lines: str) -> None:
        """Whole lines to stdout and to the file of this role."""
        if self._stdout:
            _print(lines)
        if self._main is not None:
            self._append(self._main, lines)

    def write_tasks(self, lines: str) -> None:
        """Whole lines to `tasks.log`."""
        if self._tasks is not None:
            self._append(self._tasks, lines)

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _append(self, file: LogFile, lines: str) -> None:
        written = file.write(lines.encode("utf-8", "backslashreplace"))
        name = file.path.name
        if written == (name not in self._failing):
            return
        with self._guard:
            (self._failing.discard if written else self._failing.add)(name)
        message = "log file is written again" if written else "log file cannot be written, lines are on stdout only"
        _print(self._complain(message, str(file.path)) + "\n")


def _print(lines: str) -> None:
    # Looks `sys.stdout` up on each call, so that a replaced stream is followed.
    try:
        sys.stdout.write(lines)
        sys.stdout.flush()
    except (OSError, ValueError):
        return  # a full disk or a closed pipe must not stop the work that wanted to tell about itself


def _stdout_identity() -> tuple[int, int] | None:
    try:
        status = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        return None
    return status.st_dev, status.st_ino
