"""A worker's memory limit: it stops claiming before it is reached and begins again in place before it is passed.

A container that passes its limit is killed, with everything that it runs. So a worker looks four times a second: from
85 % of the limit on it claims nothing and lets what runs finish; below 83 % it goes on. At 92 %, or when nothing runs
any more and the memory did not come back, it drains and replaces itself by a new image in the same process (`execv`):
the container sees no restart, and nothing is lost, since draining hands back what does not finish.

A worker that is too large before it ever ran a task would do that for ever. It waits instead, a minute and then ever
longer, and says that its limit is too small.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from structlog.typing import FilteringBoundLogger

from workflow_engine.observability import metrics
from workflow_engine.worker.leases import resident_bytes
from workflow_engine.worker.loop import Worker

NEAR, FAR, FULL = 0.85, 0.83, 0.92
_LOOK_SECONDS = 0.25
_IDLE_SECONDS = 2.0  # with nothing to run and no memory coming back
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 60.0, 600.0
_NO_LIMIT = 2**60  # what cgroup v1 says when there is none is some more
_RECYCLES = "_WORKFLOW_RECYCLES"  # how often, and how often in a row without having run a task: for the next image


class MemoryWatch:
    """Watches one worker.

    Args:
        worker: It is held back, let go on, and recycled.
        limit: Bytes; None = it is only measured.
        log: Told about crossings.
    """

    def __init__(self, worker: Worker, limit: int | None, log: FilteringBoundLogger) -> None:
        self._worker = worker
        self._limit = limit
        self._log = log
        self._near = False
        self._told_too_small = False
        self._idle_since: float | None = None
        self._recycles, fruitless = recycles_so_far()
        wait = min(_FIRST_WAIT_SECONDS * 2 ** min(fruitless, 10), _LONGEST_WAIT_SECONDS)
        self._may_recycle_at = time.monotonic() + wait  # unless it has run a task
        metrics.worker_memory_limit.set(limit or 0)
        metrics.worker_recycles.labels("memory").inc(self._recycles)

    async def run(self) -> None:
        """Look until the worker drains."""
        while not self._worker.draining:
            try:
                self.look_once(resident_bytes())
            except Exception:  # a bug must not end the watch
                self._log.exception("memory watch failed")
            await asyncio.sleep(_LOOK_SECONDS)

    def look_once(self, rss: int) -> None:
        """Decide by so many bytes in use."""
        metrics.worker_memory_rss.set(rss)
        if self._limit is None:
            return
        if not self._near and rss >= NEAR * self._limit:
            self._near = True
            self._log.warning(
                "memory_limit_near", rss=rss, limit=self._limit, running=self._worker.running,
                hint="No tasks are claimed for now. Raise the memory limit, or lower WORKER_CONCURRENCY.",
            )  # fmt: skip
            self._worker.hold_back("memory")
            _give_back()
        elif self._near and rss < FAR * self._limit:
            self._near = False
            self._log.info("memory below the limit again", rss=rss, limit=self._limit)
            self._worker.go_on()
        elif self._near and (rss >= FULL * self._limit or self._idles()):
            self._recycle(rss)

    def _idles(self) -> bool:
        if self._worker.running:
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since = time.monotonic()
        return time.monotonic() - self._idle_since >= _IDLE_SECONDS

    def _recycle(self, rss: int) -> None:
        if not self._worker.has_worked and time.monotonic() < self._may_recycle_at:
            if not self._told_too_small:
                self._told_too_small = True
                self._log.error(
                    "memory_limit_too_small", rss=rss, limit=self._limit,
                    again_in=round(self._may_recycle_at - time.monotonic()),
                    hint="It is nearly used up before any task ran: raise the memory limit or load fewer handlers.",
                )  # fmt: skip
            return
        self._log.warning(
            "recycling", reason="memory", rss=rss, limit=self._limit, running=self._worker.running,
            recycles=self._recycles + 1,
        )  # fmt: skip
        metrics.worker_recycles.labels("memory").inc()
        self._worker.recycle()


def begin_again(*, worked: bool) -> NoReturn:
    """Replace this process by a new one with the same command line and the same process id.

    Args:
        worked: Whether it ran a task, so that the next one need not be patient.
    """
    recycles, fruitless = recycles_so_far()
    os.environ[_RECYCLES] = f"{recycles + 1},{0 if worked else fruitless + 1}"
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 our own command line, without a shell


def recycles_so_far() -> tuple[int, int]:
    """Of this process, by earlier images: in all, and the last ones in a row in which no task was run."""
    recycles, _, fruitless = os.environ.get(_RECYCLES, "0,0").partition(",")
    return int(recycles), int(fruitless)


def memory_limit(configured: int) -> int | None:
    """Bytes this process may use: as configured, else by its cgroup, else None."""
    return configured or cgroup_limit(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))


def cgroup_limit(membership: Path, root: Path) -> int | None:
    """The smallest limit of the cgroups a process is in, of version 2 or 1; None when there is none."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    limits: list[int] = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            limits += _limits_up(root, group, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits_up(root / "memory", group, "memory.limit_in_bytes")
    return min(limits, default=None)


def _limits_up(root: Path, group: str, name: str) -> list[int]:
    """The limits of a group and all above it. In a container the path may be the host's: then the root is its own."""
    place = root / group.lstrip("/")
    found: list[int] = []
    for directory in (place, *place.parents):
        with suppress(OSError, ValueError):
            limit = int((directory / name).read_text())  # "max" is no number
            if limit < _NO_LIMIT:
                found.append(limit)
        if directory == root:
            break
    return found


def _give_back() -> None:
    """Hand memory that is free but kept back to the system, where the C library can."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
