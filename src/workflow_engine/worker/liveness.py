"""Whether what moves in a worker still moves: for the probe that restarts the process when it does not.

An outage of Postgres is no reason: a restart does not help against it, and the parts go on trying meanwhile.
"""

from __future__ import annotations

import asyncio
import time

_LOOP_BEAT_SECONDS = 1.0
LOOP_SECONDS = 60.0
"""How long the event loop may stand still. A handler that computes in it for half a minute is slow, not dead; but as
long as it does, no other task goes on, and none can be stopped when its time is over."""


class Liveness:
    """Parts that promise to beat again in time. For any thread."""

    def __init__(self) -> None:
        self._due: dict[str, tuple[float, float]] = {}  # of each part: its last beat, and when the next one is due

    def beat(self, part: str, within: float) -> None:
        """The part moves, and will beat again within so many seconds."""
        now = time.monotonic()
        self._due[part] = (now, now + within)

    def forget(self, part: str) -> None:
        """The part has ended, as it should."""
        self._due.pop(part, None)

    def problem(self) -> str | None:
        """Which parts stand still, and for how long; None when all move."""
        now = time.monotonic()
        still = [
            f"The {part} has stood still for {now - last:.0f} s."
            for part, (last, due) in sorted(self._due.items())
            if now > due
        ]
        return " ".join(still) or None

    async def watch_loop(self, within: float = LOOP_SECONDS) -> None:
        """Beat for the event loop this runs in, until it is cancelled."""
        try:
            while True:
                self.beat("event loop", within)
                await asyncio.sleep(_LOOP_BEAT_SECONDS)
        finally:
            self.forget("event loop")
