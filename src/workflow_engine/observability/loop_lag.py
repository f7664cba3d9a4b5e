"""How late an event loop is: what blocks it, or too much to do, shows here before anything times out."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from prometheus_client import Gauge

_EVERY_SECONDS = 0.25
_KEPT = 120  # half a minute: longer than it usually is from one scrape to the next


class LoopLag:
    """Wakes up again and again and looks how late it is.

    Args:
        gauge: Shows the worst of the last half a minute.
    """

    def __init__(self, gauge: Gauge) -> None:
        self._due = float("inf")
        self._recent: deque[float] = deque(maxlen=_KEPT)
        gauge.set_function(lambda: self.worst)

    @property
    def now(self) -> float:
        """Seconds for which the loop has been late by now, for any thread; 0 while it is in time."""
        return max(0.0, time.monotonic() - self._due)

    @property
    def worst(self) -> float:
        """The most seconds in the last half a minute, by now included; for any thread."""
        return max(self.now, *self._recent, 0.0)

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                self._due = time.monotonic() + _EVERY_SECONDS
                await asyncio.sleep(_EVERY_SECONDS)
                self._recent.append(self.now)
        finally:
            self._due = float("inf")
