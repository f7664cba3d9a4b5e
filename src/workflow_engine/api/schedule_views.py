"""The shape of schedules in answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from workflow_engine.api.answers import API
from workflow_engine.definition.cron import due_after
from workflow_engine.records import BackfilledStart, Schedule

_NEXT_TIMES = 5


def schedule(entries: Sequence[Schedule]) -> dict[str, Any]:
    """The schedule of one definition; all its entries are paused together."""
    first = entries[0]
    return {
        "name": first.name,
        "version": first.version,
        "paused": first.paused_at is not None,
        "since": first.paused_at,
        "entries": [
            {
                "position": entry.position,
                "cron": entry.cron,
                "timezone": entry.timezone,
                "overlap": entry.overlap,
                "catchup": entry.catchup,
                "input": entry.input,
                "next_times": [*islice(next_times(entry), _NEXT_TIMES)],
                "last_at": entry.last_at,
                "last_workflow_id": entry.last_workflow_id and str(entry.last_workflow_id),
                "last_error": entry.last_error,
                "started": entry.started,
                "skipped": entry.skipped,
                "missed": entry.missed,
            }
            for entry in entries
        ],
        "links": {"self": f"{API}/schedules/{first.name}", "definition": f"{API}/definitions/{first.name}"},
    }


def next_times(entry: Schedule) -> Iterator[datetime]:
    """When an entry is due, from the next time on; never while it is paused."""
    if entry.paused_at is not None:
        return
    if entry.next_at is None:
        yield from due_after(entry.cron, entry.timezone, entry.since)
    elif entry.next_at.year < datetime.max.year:  # as the database has it where none is left
        yield entry.next_at
        yield from due_after(entry.cron, entry.timezone, entry.next_at)


def due_times(times: Sequence[tuple[int, datetime]], started: Mapping[datetime, UUID]) -> dict[str, Any]:
    """Due times of the past; entries that are due at the same time have one workflow."""
    moments = sorted({time for _, time in times})
    missing = sum(moment not in started for moment in moments)
    return {
        "total": len(moments),
        "started": len(moments) - missing,
        "missing": missing,
        "first": moments[0] if moments else None,
        "last": moments[-1] if moments else None,
        "times": [
            {"at": time, "position": position, "workflow_id": str(started[time]) if time in started else None}
            for time, position in sorted((time, position) for position, time in times)
        ],
    }


def backfilled(start: BackfilledStart) -> dict[str, Any]:
    return {
        "id": str(start.id),
        "status": start.status,
        "scheduled_for": start.scheduled_for,
        "existing": start.existing,
    }
