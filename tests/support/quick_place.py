"""Where a run keeps its files: in memory when there is enough of it.

Each test has a database of its own, and a database is some 300 files: on a disk, making and removing them takes longer
than most tests. TMPDIR, when it is given, decides.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

_MEMORY = Path("/dev/shm")
_PREFIX = "workflow-engine-tests-"
_ENOUGH = 6 * 1024**3  # bytes; three servers with what the tests of plans fill them with take less than two thirds


def make_quick_place() -> Path | None:
    """Have temporary files of this process and of its children made there; None = where they are made anyway."""
    if "TMPDIR" in os.environ or not _is_fit(_MEMORY):
        return None
    _remove_what_others_left()
    place = _MEMORY / f"{_PREFIX}{os.getpid()}"
    place.mkdir()
    place.chmod(0o711)  # the servers' account passes through
    os.environ["TMPDIR"] = tempfile.tempdir = str(place)
    return place


def _is_fit(place: Path) -> bool:
    if not os.access(place, os.W_OK | os.X_OK) or os.statvfs(place).f_flag & os.ST_NOEXEC:
        return False  # programs are copied there when the servers' account cannot get to them
    return min(shutil.disk_usage(place).free, psutil.virtual_memory().available) >= _ENOUGH


def _remove_what_others_left() -> None:
    """A run that was killed could not remove its files, and this is memory."""
    for left in _MEMORY.glob(f"{_PREFIX}*"):
        with suppress(ValueError):
            if not psutil.pid_exists(int(left.name.removeprefix(_PREFIX))):
                shutil.rmtree(left, ignore_errors=True)
