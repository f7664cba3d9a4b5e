"""Writes the audit log: a row for each request that changed something, or was not allowed to.

The row is in Postgres before the answer goes out; requests that end at the same time share the statement that writes
it. When Postgres goes away in between, the answer does not wait for it: the row is kept, and written when it is back
(twice, perhaps, if the connection was lost while it was written). Who is refused again and again gets one row for ten
seconds, with how often it was, so that nobody can fill the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any
from uuid import UUID

from workflow_engine.api.rides import Rides
from workflow_engine.background import end_tasks
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.store.audit import Audit

WINDOW_SECONDS = 10.0
"""What is refused within it, of the same caller and for the same reason, is one row."""

_PATIENCE_SECONDS = 2.0  # for which an answer waits for its row
_AGAIN_SECONDS = 1.0
_MOST_AT_ONCE = 500
_MOST_KEPT = 10_000
_MOST_REFUSED = 1000  # callers
_LAST_SECONDS = 3.0  # at the end of the process

_log = get_logger("audit")


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that was asked of the API; as a row of the audit log has it."""

    principal: str | None
    key_id: str | None
    address: str | None
    request_id: str
    method: str
    path: str
    operation: str
    workflow_id: UUID | None
    status: int
    at: float  # of time.monotonic()
    times: int = 1
    reason: str | None = None  # as who asked said

    def as_row(self) -> dict[str, Any]:
        row: dict[str, Any] = {name: getattr(self, name) for name in _COLUMNS}
        row["age"] = max(0.0, time.monotonic() - row.pop("at"))
        row["workflow_id"] = None if self.workflow_id is None else str(self.workflow_id)
        return row


_COLUMNS = tuple(field.name for field in fields(Entry))


class AuditLog:
    """The audit log of one engine process."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._rides: Rides[Entry, None] = Rides(self._write, most=_MOST_AT_ONCE)
        self._kept: deque[Entry] = deque(maxlen=_MOST_KEPT)
        self._refused: OrderedDict[tuple[str, int], Entry] = OrderedDict()  # the row so far, since when
        self._writing: set[asyncio.Task[None]] = set()
        self._tending = asyncio.create_task(self._tend())

    async def add(self, entry: Entry, *more: Entry) -> None:
        """Write a row, or all of what was done to many in one statement; returns when that is done, or Postgres is not
        there to do it.

        Being cancelled ends the wait and no more: the server is stopping, and what was done is still to be answered
        for.
        """
        writing = asyncio.create_task(self._write_all((entry, *more)) if more else self._rides.take(entry))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([writing], timeout=_PATIENCE_SECONDS)

    async def add_refused(self, entry: Entry) -> None:
        """The same for a request that was not allowed; the like of it within seconds is counted."""
        like = (entry.principal or entry.address or "", entry.status)
        first = self._refused.get(like)
        if first is not None and entry.at - first.at < WINDOW_SECONDS:
            # What was written says once; the rest of the window is one row more, with the last of them.
            self._refused[like] = replace(entry, at=first.at, times=first.times + 1)
            return
        self._refused[like] = entry
        self._refused.move_to_end(like)
        counted = [first] if first is not None else []
        while len(self._refused) > _MOST_REFUSED:
            counted.append(self._refused.popitem(last=False)[1])
        self._keep([again for one in counted if (again := _others(one))])
        await self.add(entry)

    async def close(self) -> None:
        """Write what is left, if that is possible within seconds."""
        await end_tasks(self._tending)
        if self._writing:
            await asyncio.wait(set(self._writing), timeout=_LAST_SECONDS)
        self._keep([again for one in self._refused.values() if (again := _others(one))])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self._write_kept()
        await self._rides.close()
        if self._kept:
            _log.warning("audit rows lost", rows=len(self._kept))
            metrics.audit_rows_lost.inc(len(self._kept))

    async def _write(self, entries: Sequence[Entry]) -> Sequence[None]:
        await self._write_all(entries)
        return [None] * len(entries)

    async def _write_all(self, entries: Sequence[Entry]) -> None:
        try:
            await self._audit.add([entry.as_row() for entry in entries])
        except Exception as error:  # whatever it is, what was asked has been done and is to be answered
            _log.warning("audit rows delayed", rows=len(entries), error=str(error))
            self._keep(entries)

    def _keep(self, entries: Sequence[Entry]) -> None:
        lost = max(0, len(self._kept) + len(entries) - _MOST_KEPT)
        if lost:
            _log.warning("audit rows lost", rows=lost)
            metrics.audit_rows_lost.inc(lost)
        self._kept.extend(entries)

    async def _write_kept(self) -> None:
        while self._kept:
            entries = [self._kept.popleft() for _ in range(min(_MOST_AT_ONCE, len(self._kept)))]
            try:
                await self._audit.add([entry.as_row() for entry in entries])
            except BaseException:
                self._kept.extendleft(reversed(entries))
                raise

    async def _tend(self) -> None:
        """Write what could not be written, and what was counted in windows that are over."""
        while True:
            await asyncio.sleep(_AGAIN_SECONDS)
            begun = time.monotonic() - WINDOW_SECONDS
            over = [like for like, entry in self._refused.items() if entry.at < begun]
            self._keep([again for like in over if (again := _others(self._refused.pop(like)))])
            try:
                await self._write_kept()
            except Exception as error:
                _log.warning("audit rows wait for Postgres", rows=len(self._kept), error=str(error))


def _others(entry: Entry) -> Entry | None:
    """What was counted after the first, which has a row of its own."""
    return replace(entry, times=entry.times - 1) if entry.times > 1 else None
