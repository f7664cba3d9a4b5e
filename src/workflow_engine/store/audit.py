"""The audit log: add to it, read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from workflow_engine.records import AuditRow
from workflow_engine.store.pool import Pool

_LAST = 2**62  # no id is as high


class Audit:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows, as `workflow.add_audit` takes them.

        Raises:
            StoreUnavailable: Postgres cannot be reached; they were not added, or it is not known.
        """
        await self._pool.value("select workflow.add_audit(%s)", [Jsonb(list(rows))])

    async def page(
        self,
        *,
        principal: str | None = None,
        operation: str | None = None,
        workflow_id: UUID | None = None,
        status: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        among: int,
        limit: int,
    ) -> tuple[list[AuditRow], int | None, bool]:
        """One page of those among so many rows, latest first; arguments are those of `list`.

        Returns:
            The rows; before which id the next page begins, None: there is none; and whether it is there because not all
            were looked at.
        """
        low, high, further = await self._look_from(
            principal, workflow_id=workflow_id, since=since, until=until, before=before, among=among
        )
        found = await self.list(
            principal=principal,
            operation=operation,
            workflow_id=workflow_id,
            status=status,
            since=since,
            until=until,
            before=high,
            from_id=low,
            limit=limit + 1,
        )
        if len(found) > limit:
            return found[:limit], found[limit - 1].id, False
        return found, further, further is not None

    async def _look_from(
        self,
        principal: str | None,
        *,
        workflow_id: UUID | None,
        since: datetime | None,
        until: datetime | None,
        before: int | None,
        among: int,
    ) -> tuple[int, int, int | None]:
        """From which id on and before which a page of `list` looks, and before which the next one has to look.

        None: there is nothing that was not looked at. What has an index, and the time, bound what is looked at; other
        filters may have to go through all of it, a part at a time.
        """
        found = await self._pool.value(
            "with bounds as materialized ("
            "  select coalesce(workflow.audit_id_at(%(since)s::timestamptz), 0) as low,"
            "         least(%(before)s, workflow.audit_id_at(%(until)s::timestamptz + interval '2 minutes')) as high)"
            " select jsonb_build_array(b.low, b.high, ("
            "  select a.id from workflow.audit a where a.id >= b.low and a.id < b.high"
            f"  and {_of_index(principal, workflow_id)}"
            "   order by a.id desc offset %(among)s - 1 limit 1))"
            " from bounds b",
            {
                "principal": principal,
                "workflow_id": workflow_id,
                "since": since,
                "until": until,
                "before": _LAST if before is None else before,
                "among": among,
            },
            repeatable=True,
        )
        low, high, floor = found
        return (low, high, None) if floor is None else (floor, high, floor)

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
        from_id: int | None = None,
        limit: int = 100,
    ) -> list[AuditRow]:
        """What was asked, latest first; each argument leaves less of it.

        Args:
            operation: Ending in `*`: any that begins so.
        """
        beginning: str | None = None
        if operation is not None and operation.endswith("*"):
            beginning, operation = operation[:-1], None
        wanted: dict[str, tuple[str, Any]] = {
            "principal": ("principal = %(principal)s", principal),
            "operation": ("operation = %(operation)s", operation),
            "beginning": ("starts_with(operation, %(beginning)s)", beginning),
            "workflow_id": ("workflow_id = %(workflow_id)s", workflow_id),
            "status": ("status = %(status)s", status),
            "since": ("at >= %(since)s", since),
            "until": ("at < %(until)s", until),
            "before": ("id < %(before)s", before),
            "from_id": ("id >= %(from_id)s", from_id),
        }
        given = {name: value for name, (_, value) in wanted.items() if value is not None}
        where = " and ".join(wanted[name][0] for name in given) or "true"
        return await self._pool.rows(
            AuditRow,
            "select id, at, principal, key_id, address, request_id, method, path, operation, workflow_id, status, times"
            f" from workflow.audit_list where {where} order by id desc limit %(limit)s",
            {**given, "limit": limit},
        )


def _of_index(principal: str | None, workflow_id: UUID | None) -> str:
    if workflow_id is not None:
        return "a.workflow_id = %(workflow_id)s::uuid"
    return "a.principal = %(principal)s::text" if principal is not None else "true"
