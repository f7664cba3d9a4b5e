"""The audit log: add to it, read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from workflow_engine.records import AuditRow
from workflow_engine.store.pool import Pool


class Audit:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows, as `workflow.add_audit` takes them.

        Raises:
            StoreUnavailable: Postgres cannot be reached; they were not added, or it is not known.
        """
        await self._pool.value("select workflow.add_audit(%s)", [Jsonb(list(rows))])

    async def list(
        self,
        *,
        principal: str | None = None,
        operation: str | None = None,
        workflow_id: UUID | None = None,
        status: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[AuditRow]:
        """What was asked, latest first; each argument leaves less of it."""
        wanted: dict[str, tuple[str, Any]] = {
            "principal": ("principal = %(principal)s", principal),
            "operation": ("operation = %(operation)s", operation),
            "workflow_id": ("workflow_id = %(workflow_id)s", workflow_id),
            "status": ("status = %(status)s", status),
            "since": ("at >= %(since)s", since),
            "until": ("at < %(until)s", until),
            "before": ("id < %(before)s", before),
        }
        given = {name: value for name, (_, value) in wanted.items() if value is not None}
        where = " and ".join(wanted[name][0] for name in given) or "true"
        return await self._pool.rows(
            AuditRow,
            "select id, at, principal, key_id, address, request_id, method, path, operation, workflow_id, status, times"
            f" from workflow.audit_list where {where} order by id desc limit %(limit)s",
            {**given, "limit": limit},
        )
