"""Tells the engine's log what happens to workflows, so that a grep over it finds them though workers did the work.

Once a second the leader reads the events that are new by their `seq`. A transaction that commits late leaves rows
behind others that were told already; so rows are read again, with a memory of those told, until no transaction of
their time is left. One that stays open for longer than `_MEMORY_SECONDS`, or while `_MEMORY_EVENTS` more come in, may
be missed here. The log is for people; the events themselves miss nothing.

Whoever begins to lead begins some seconds back: lines of the time of a change may be there twice.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from workflow_engine.observability.events import describe
from workflow_engine.observability.logs import as_utc, get_logger, write_task_line
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

_EVERY_SECONDS = 1.0
_MEMORY_SECONDS = 60.0
_MEMORY_EVENTS = 50_000
_TAKEN_BACK = frozenset({"lost", "cancelled"})  # how attempts end without a worker that could say so


@dataclass(frozen=True, slots=True)
class _Mark:
    """All events up to `top` are final as soon as no transaction before `xmax` is left."""

    top: int
    xmax: int
    at: float


class Narrator:
    """Reports nothing as done: what it does are log lines."""

    name = "narrator"
    every = _EVERY_SECONDS
    asked = True
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self._maintenance = store.maintenance
        self._log = get_logger("narrator")
        self._after: int | None = None  # all up to here is done with
        self._told: set[int] = set()  # of those behind it
        self._marks: deque[_Mark] = deque()

    @property
    def seen(self) -> int | None:
        """The last event when all up to it are done with; None while some may still appear before it."""
        return None if self._marks else self._after

    async def sweep_once(self) -> dict[str, int]:
        now = time.monotonic()
        found = await self._maintenance.narrate(self._after, self._told)
        for line in found["lines"]:
            self._tell(line)
        if found["left_out"]:
            self._log.warning("events left out of the log", count=found["left_out"])
        self._remember(found, now)
        return {}

    def _remember(self, found: Mapping[str, Any], now: float) -> None:
        self._marks.append(_Mark(found["top"], found["xmax"], now))
        after = self._after if self._after is not None else 0
        while self._marks and (self._marks[0].xmax <= found["xmin"] or now - self._marks[0].at > _MEMORY_SECONDS):
            after = self._marks.popleft().top
        self._after = max(after, found["top"] - _MEMORY_EVENTS)
        self._told = {seq for seq in (*self._told, *found["seqs"]) if seq > self._after}

    def _tell(self, line: Mapping[str, Any]) -> None:
        level, message, rest = describe(
            line["type"],
            line["data"],
            of_task=line["task_id"] is not None,
            outcome=line["outcome"],
            seconds=line["seconds"],
        )
        fields = {
            "workflow_id": line["workflow_id"],
            "task_id": line["task_id"],
            "step": line["step"],
            "type": line["step_type"],
            "attempt": line["attempt"],
            "worker": line["worker"],
            "at": as_utc(datetime.fromisoformat(line["at"])),
            **rest,
        }
        (self._log.warning if level == "warning" else self._log.info)(message, **fields)
        if line["outcome"] in _TAKEN_BACK:
            write_task_line(level, message, fields)
