"""Time limits of attempts: like `asyncio.timeout`, at a fifth of its cost where most are left before they pass.

A worker sets a limit for each of its attempts and hardly ever sees one pass. A timer of the event loop for each would
be made, sorted in and cancelled. Here all limits of the same length share one: they pass in the order in which they
were set, so only the first needs a timer, and to set or to lift one is an entry in a dict.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any


class TimeLimits:
    """The limits that are set in one event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: dict[float, _Queue] = {}

    def limit(self, seconds: float) -> TimeLimit:
        """A limit, not set yet. Where the event loop is another than the last time, those of that one are forgotten."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._queues = loop, {}
        queue = self._queues.get(seconds)
        if queue is None:
            queue = self._queues[seconds] = _Queue(loop, seconds, self._queues)
        return TimeLimit(queue)


class TimeLimit:
    """Cancels the task that is inside (`with`) after some seconds. For one use, by the task that enters it.

    It then leaves with `TimeoutError` in place of that cancellation. Whoever catches a `TimeoutError` asks `passed`
    whether it was this limit.
    """

    __slots__ = ("_cancelling", "_queue", "_task", "passed")

    def __init__(self, queue: _Queue) -> None:
        self.passed = False
        self._queue = queue
        self._task: asyncio.Task[Any] | None = None

    @property
    def seconds(self) -> float:
        """From when it is entered or restarted."""
        return self._queue.seconds

    def __enter__(self) -> None:
        task = self._task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()
        self._queue.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        assert task is not None
        if not self.passed:
            self._queue.remove(self)
        elif task.uncancel() <= self._cancelling and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def restart(self) -> None:
        """Let the time begin anew. In the event loop; without effect before it is entered and once it is over."""
        if self._task is not None and not self.passed:
            self._queue.remove(self)
            self._queue.add(self)

    def end(self) -> None:
        """The time is over: for the queue alone."""
        self.passed = True
        if self._task is not None:
            self._task.cancel()


class _Queue:
    """The limits of one length that are set, first the one that passes first, and one timer for them."""

    __slots__ = ("_ends", "_loop", "_queues", "_timed", "seconds")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, queues: dict[float, _Queue]) -> None:
        self.seconds = seconds
        self._loop = loop
        self._queues = queues  # where it stands itself
        self._ends: dict[TimeLimit, float] = {}
        self._timed = False

    def add(self, limit: TimeLimit) -> None:
        ends = self._ends[limit] = self._loop.time() + self.seconds
        if not self._timed:
            self._timed = True
            self._loop.call_at(ends, self._look)

    def remove(self, limit: TimeLimit) -> None:
        del self._ends[limit]  # the timer stays; it will find another first, or none

    def _look(self) -> None:
        now = self._loop.time()
        while self._ends:
            limit, ends = next(iter(self._ends.items()))
            if ends > now:
                self._loop.call_at(ends, self._look)
                return
            self.remove(limit)
            limit.end()
        self._timed = False
        if self._queues.get(self.seconds) is self:  # the next limit of this length begins anew
            del self._queues[self.seconds]
