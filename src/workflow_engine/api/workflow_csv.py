"""Workflows as a table for spreadsheets: all that filters name, written while they are read."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from workflow_engine.api.answers import dump
from workflow_engine.records import WorkflowFilter, WorkflowSummary
from workflow_engine.store.workflow_search import Order, WorkflowSearch

COLUMNS = (
    "id", "name", "version", "status", "created_at", "started_at", "finished_at", "seconds", "error_type", "error_step",
    "error_message", "labels", "priority", "parent_id", "created_by",
)  # fmt: skip

_ROWS = 1000  # of a look
_AMONG = 20_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def as_csv(search: WorkflowSearch, which: WorkflowFilter, order: Order) -> AsyncGenerator[bytes, None]:
    """A line for each workflow below that of the columns; each look at the database is short, however many there are.

    Raises:
        StoreUnavailable: Postgres does not answer.
    """
    head: list[Iterable[Any]] = [COLUMNS]
    before: UUID | None = None
    while True:
        found = await search.list(which, before=before, among=_AMONG, limit=_ROWS, order=order)
        yield _lines([*head, *map(_row, found)])
        head = []
        before = (
            found[-1].id
            if len(found) == _ROWS
            else await search.look_from(which, before=before, among=_AMONG, order=order)
        )
        if before is None:
            return


def _row(workflow: WorkflowSummary) -> list[Any]:
    error = workflow.error or {}
    took = None if workflow.ran is None else round(workflow.ran, 3)
    texts = (error.get("type"), error.get("step"), error.get("message"))
    return [
        workflow.id, workflow.name, workflow.version, workflow.status, _time(workflow.created_at),
        _time(workflow.started_at), _time(workflow.finished_at), took, *map(_cell, texts),
        dump(workflow.labels).decode().strip() if workflow.labels else None, workflow.priority, workflow.parent_id,
        _cell(workflow.created_by),
    ]  # fmt: skip


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cell(text: object) -> str | None:
    """What others wrote: a spreadsheet is not to take it for a formula."""
    if text is None:
        return None
    shown = str(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue().encode()
