"""A workflow's log: its events in words, as JSON or logfmt, in pages or as a whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from workflow_engine.observability.events import describe
from workflow_engine.observability.logs import as_utc, logfmt_line
from workflow_engine.records import LogEvent
from workflow_engine.store.history import History

PAGE = 1000


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


def said_by_engine(level: str, message: str) -> dict[str, Any]:
    """A line that is of no event: what the engine has to say to who reads."""
    names = ("event", "task_id", "step", "type", "attempt", "worker")
    return {"time": datetime.now(UTC), "level": level, "message": message, **dict.fromkeys(names), "fields": {}}


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


def told_as_logfmt(workflow_id: str, line: Mapping[str, Any]) -> str:
    """The same of a line that an engine has told as JSON."""
    return as_logfmt(workflow_id, {**line, "time": datetime.fromisoformat(line["time"])})


async def whole_log(history: History, workflow_id: str, *, after: int) -> AsyncGenerator[list[LogEvent], None]:
    """The log from after an event on, a page at a time.

    Raises:
        WorkflowNotFound: There is no such workflow; raised before anything is yielded.
    """
    while True:
        events = await history.log(workflow_id, after=after, limit=PAGE)
        yield events
        if len(events) < PAGE:
            return
        after = events[-1].seq
