"""A workflow's log: its events in words, as JSON or logfmt, in pages or as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from workflow_engine.observability.events import describe
from workflow_engine.observability.logs import as_utc, logfmt_line
from workflow_engine.records import LogEvent
from workflow_engine.states import TERMINAL_WORKFLOW_STATUSES
from workflow_engine.store.workflows import Workflows

PAGE = 1000
_LOOK_SECONDS = 1.0
_QUIET_SECONDS = 15.0  # after which an empty line keeps the connection alive


def log_lines(events: Iterable[LogEvent]) -> Iterator[dict[str, Any]]:
    """Events as lines of JSON data; what a handler logged stands before the end of its attempt."""
    for event in events:
        named = {
            "task_id": None if event.task_id is None else str(event.task_id),
            "step": event.step,
            "type": event.step_type,
            "attempt": event.attempt,
            "worker": event.worker,
        }
        for line in event.lines or ():
            yield {
                "time": datetime.fromisoformat(line["time"]),
                "level": line["level"],
                "message": line["message"],
                "event": None,
                **named,
                "fields": line["fields"],
            }
        level, message, fields = describe(
            event.type,
            event.data,
            of_task=event.task_id is not None,
            outcome=event.outcome,
            seconds=event.seconds,
        )
        yield {
            "time": event.at,
            "level": level,
            "message": message,
            "event": event.type,
            **named,
            "fields": fields,
        }


def as_logfmt(workflow_id: str, line: dict[str, Any]) -> str:
    """A line as it stands in log files, and as `grep "workflow_id=<id>"` finds it."""
    head = {
        "time": as_utc(line["time"]),
        "level": line["level"],
        "msg": line["message"],
        "workflow_id": workflow_id,
    }
    named = {name: line[name] for name in ("task_id", "step", "type", "attempt", "worker")}
    rest = {name: value for name, value in line["fields"].items() if name not in head and name not in named}
    return logfmt_line({**head, **named, **rest})


async def read_log(
    workflows: Workflows, workflow_id: str, *, after: int, follow: bool, look_seconds: float = _LOOK_SECONDS
) -> AsyncGenerator[list[LogEvent], None]:
    """The whole log from after an event on, a page at a time; empty pages say that nothing happens.

    To follow it means to go on until the workflow has ended. Events get their place before they are committed, so one
    may appear behind others; those of the last look are therefore held back for the next one, `look_seconds` later.

    Raises:
        WorkflowNotFound: There is no such workflow; raised before anything is yielded.
    """
    edge, spoke = after, time.monotonic()
    while True:
        live = follow and not await _has_ended(workflows, workflow_id)  # asked first: what is read then is all
        events = await workflows.log(workflow_id, after=after, limit=PAGE)
        ripe = [event for event in events if event.seq <= edge] if live else events
        edge = events[-1].seq if events else edge
        if ripe or (live and time.monotonic() - spoke > _QUIET_SECONDS):
            after, spoke = ripe[-1].seq if ripe else after, time.monotonic()
            yield ripe
        if live:
            await asyncio.sleep(look_seconds)
        elif len(events) < PAGE:
            return


async def _has_ended(workflows: Workflows, workflow_id: str) -> bool:
    statuses = await workflows.statuses([UUID(workflow_id)])
    return not statuses or statuses[UUID(workflow_id)] in TERMINAL_WORKFLOW_STATUSES
