"""How far somebody has read the events, though those of a transaction that commits late appear behind others.

Rows are read again, with a memory of those that were taken, until no transaction of their time is left. One that stays
open for longer than `_MEMORY_SECONDS`, or while `_MEMORY_EVENTS` more come in, may be missed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_MEMORY_SECONDS = 60.0
_MEMORY_EVENTS = 50_000


@dataclass(frozen=True, slots=True)
class _Mark:
    """All events up to `top` are final as soon as no transaction before `xmax` is left."""

    top: int
    xmax: int
    at: float


class EventTail:
    """A reader's place in the events; see workflow.narrate.

    Attributes:
        after: All up to here is done with; None: nothing was read yet.
        taken: Of those behind it.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.after: int | None = None
        self.taken: set[int] = set()
        self._marks: deque[_Mark] = deque()

    @property
    def seen(self) -> int | None:
        """The last event when all up to it are done with; None while some may still appear before it."""
        return None if self._marks else self.after

    def went_on(self, found: Mapping[str, Any]) -> None:
        """Go on after an answer: with `top`, `xmin`, `xmax`, and `seqs`, which were taken now."""
        now = self._now()
        self._marks.append(_Mark(found["top"], found["xmax"], now))
        after = self.after if self.after is not None else 0
        while self._marks and (self._marks[0].xmax <= found["xmin"] or now - self._marks[0].at > _MEMORY_SECONDS):
            after = self._marks.popleft().top
        self.after = max(after, found["top"] - _MEMORY_EVENTS)
        self.taken = {seq for seq in (*self.taken, *found["seqs"]) if seq > self.after}
