"""Tells the engine's log what happens to workflows, so that a grep over it finds them though workers did the work.

Once a second the leader reads the events that are new by their `seq`; event_tail.py says which may be missed. The log
is for people; the events themselves miss nothing.

Whoever begins to lead begins some seconds back: lines of the time of a change may be there twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from workflow_engine.maintenance.event_tail import EventTail
from workflow_engine.observability.events import describe
from workflow_engine.observability.logs import as_utc, get_logger, write_task_line
from workflow_engine.observability.span_names import trace_id
from workflow_engine.observability.tracing import spans
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

_EVERY_SECONDS = 1.0
_TAKEN_BACK = frozenset({"lost", "cancelled"})  # how attempts end without a worker that could say so


class Narrator:
    """Reports nothing as done: what it does are log lines."""

    name = "narrator"
    every = _EVERY_SECONDS
    asked = True
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self._maintenance = store.maintenance
        self._log = get_logger("narrator")
        self._tail = EventTail()

    @property
    def seen(self) -> int | None:
        """The last event when all up to it are done with; None while some may still appear before it."""
        return self._tail.seen

    async def sweep_once(self) -> dict[str, int]:
        found = await self._maintenance.narrate(self._tail.after, self._tail.taken)
        for line in found["lines"]:
            self._tell(line)
        if found["left_out"]:
            self._log.warning("events left out of the log", count=found["left_out"])
        self._tail.went_on(found)
        return {}

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
            "trace_id": self._trace_of(line),
            "at": as_utc(datetime.fromisoformat(line["at"])),
            **rest,
        }
        (self._log.warning if level == "warning" else self._log.info)(message, **fields)
        if line["outcome"] in _TAKEN_BACK:
            write_task_line(level, message, fields)

    def _trace_of(self, line: Mapping[str, Any]) -> str | None:
        """Where the workflow has a trace: that it was started in, or that which this process writes."""
        if line["traceparent"] is None and spans() is None:
            return None
        return trace_id(line["workflow_id"], line["traceparent"])
