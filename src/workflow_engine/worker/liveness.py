"""Whether what moves in a worker still moves: for the probe that restarts the process when it does not.

An outage of Postgres is no reason: a restart does not help against it, and the parts go on trying meanwhile.
"""

from __future__ import annotations

import time

from workflow_engine.observability.loop_lag import LoopLag

LOOP_SECONDS = 60.0
"""How long the event loop may stand still. A handler that computes in it for half a minute is slow, not dead; but as
long as it does, no other task goes on, and none can be stopped when its time is over."""


class Liveness:
    """Parts that promise to beat again in time. For any thread."""

    def __init__(self) -> None:
        self._due: dict[str, tuple[float, float]] = {}  # of each part: its last beat, and when the next one is due
        self._loop: tuple[LoopLag, float] | None = None  # and how late it may be

    def beat(self, part: str, within: float) -> None:
        """The part moves, and will beat again within so many seconds."""
        now = time.monotonic()
        self._due[part] = (now, now + within)

    def forget(self, part: str) -> None:
        """The part has ended, as it should."""
        self._due.pop(part, None)

    def watch_loop(self, lag: LoopLag, within: float = LOOP_SECONDS) -> None:
        """Tell of an event loop, too, that is late by more than so many seconds."""
        self._loop = (lag, within)

    def problem(self) -> str | None:
        """Which parts stand still, and for how long; None when all move."""
        now = time.monotonic()
        still = {part: now - last for part, (last, due) in self._due.items() if now > due}
        if self._loop is not None and (late := self._loop[0].now) > self._loop[1]:
            still["event loop"] = late
        return " ".join(f"The {part} has stood still for {still[part]:.0f} s." for part in sorted(still)) or None
