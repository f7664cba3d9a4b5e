"""Where a worker's memory is allocated, by the interpreter's own books (tracemalloc).

Off unless `MEMORY_PROFILER=true`, and then it costs nothing. While every allocation of Python is written down, code
that allocates much is some ten times slower. So that happens for a hundredth of the time only, in one piece before each
line; what was allocated then and is still in use at its end is what the line tells. A leak stands out from line to
line. With `WORKFLOW_MEMORY_PROFILE_SHARE=1` books are kept always, which shows old memory too: for a trial, not for
production.
"""

from __future__ import annotations

import asyncio
import threading
import time
import tracemalloc
from pathlib import PurePath

from structlog.typing import FilteringBoundLogger

from workflow_engine.records import Claim
from workflow_engine.worker.leases import resident_bytes

_NOTABLE_BYTES = 10 * 1024 * 1024
_LINE_TOP = 10
_PAGE_TOP = 50
_PAGE_SECONDS = 1.0  # how long it traces for somebody who asks now
_PATH_PARTS = 3


class MemoryProfiler:
    """One for a process.

    Args:
        log: Where the lines go.
        every: Seconds between two lines.
        share: Of that time, in which allocations are traced; 1 = all the time, from now on.
    """

    def __init__(self, log: FilteringBoundLogger, *, every: float, share: float) -> None:
        self._log = log
        self._every = every
        self._always = share >= 1
        self._window = 0.0 if self._always else every * share
        self._busy = threading.Lock()
        if self._always:
            tracemalloc.start(1)

    def compare(self, before: int, claim: Claim, step_type: str, *, running: int) -> None:
        """Log an attempt during which the process has grown much beyond `before` bytes.

        Attempts that ran beside it have a part in that: `running` is how many there are.
        """
        rss = resident_bytes()
        if rss - before > _NOTABLE_BYTES:
            self._log.info(
                "memory_task", workflow_id=claim.workflow_id, task_id=claim.task_id, type=step_type,
                attempt=claim.attempt, delta=rss - before, rss=rss, running=running,
            )  # fmt: skip

    async def run(self) -> None:
        """Log a summary again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._every - self._window)
            top = await asyncio.to_thread(self.trace, self._window, _LINE_TOP)
            traced = "all" if self._always else round(self._window, 3)
            self._log.info(
                "memory_profile", rss=resident_bytes(), traced_seconds=traced,
                top="someone else is tracing" if top is None else ", ".join(top) or "nothing",
            )  # fmt: skip

    def page(self) -> list[str] | None:
        """The places with most memory, for somebody who asks now; takes a second."""
        return self.trace(0.0 if self._always else _PAGE_SECONDS, _PAGE_TOP)

    def trace(self, seconds: float, count: int) -> list[str] | None:
        """Trace for so long, in the calling thread.

        Returns:
            The places whose allocations use most memory at the end, as `file:line size=.. count=..`; None while another
            thread does the same.
        """
        if not self._busy.acquire(blocking=False):
            return None
        try:
            if not self._always:
                tracemalloc.start(1)
            time.sleep(seconds)
            return _top(tracemalloc.take_snapshot(), count)
        finally:
            if not self._always:
                tracemalloc.stop()
            self._busy.release()


def _top(snapshot: tracemalloc.Snapshot, count: int) -> list[str]:
    ours = [tracemalloc.Filter(False, path) for path in (tracemalloc.__file__, __file__)]
    places = ((entry, entry.traceback[0]) for entry in snapshot.filter_traces(ours).statistics("lineno")[:count])
    return [f"{_short(place.filename)}:{place.lineno} size={entry.size} count={entry.count}" for entry, place in places]


def _short(path: str) -> str:
    return "/".join(PurePath(path).parts[-_PATH_PARTS:])
