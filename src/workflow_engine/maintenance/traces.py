"""Writes the spans that no worker writes: of workflows that ended, and of attempts that nobody came back from.

An engine that is stopped while it leads looks once more. Whoever begins to lead begins some seconds back, so spans of
the time of a change may be sent twice; they are the same then, to their ids. event_tail.py says which may be missed.
"""

from __future__ import annotations

from workflow_engine.maintenance.event_tail import EventTail
from workflow_engine.observability.spans import Spans
from workflow_engine.store.store import Store

_EVERY_SECONDS = 1.0
_ROUNDS = 20  # of 2,000 ends each, so that other duties have their turn


class Traces:
    """Reports nothing as done: metrics count spans."""

    name = "traces"
    every = _EVERY_SECONDS
    asked = False
    patience = 0.0

    def __init__(self, store: Store, spans: Spans) -> None:
        self._maintenance = store.maintenance
        self._spans = spans
        self._tail = EventTail()

    async def sweep_once(self) -> dict[str, int]:
        for _ in range(_ROUNDS):
            found = await self._maintenance.ended_spans(self._tail.after, self._tail.taken)
            for workflow in found["workflows"]:
                self._spans.workflow(workflow)
            for attempt in found["attempts"]:
                self._spans.gone(attempt)
            self._tail.went_on(found)
            if not found["more"]:
                break
        return {}
