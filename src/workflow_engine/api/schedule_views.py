"""The shape of schedules in answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from workflow_engine.api.answers import API
from workflow_engine.definition.cron import due_between
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
                "next_times": _next_times(entry),
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


def _next_times(entry: Schedule) -> list[datetime]:
    if entry.paused_at is not None:
        return []
    last = datetime.max.replace(tzinfo=UTC)
    if entry.next_at is None:
        return due_between(entry.cron, entry.timezone, entry.since, last, _NEXT_TIMES)
    if entry.next_at.year == last.year:  # as the database has it where none is left
        return []
    return [entry.next_at, *due_between(entry.cron, entry.timezone, entry.next_at, last, _NEXT_TIMES - 1)]


def backfilled(start: BackfilledStart) -> dict[str, Any]:
    return {
        "id": str(start.id),
        "status": start.status,
        "scheduled_for": start.scheduled_for,
        "existing": start.existing,
    }
