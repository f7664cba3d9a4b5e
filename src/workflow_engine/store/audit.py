"""The audit log: add to it, read it. However many rows there are, one look reads no more than it is told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from psycopg.types.json import Jsonb

from workflow_engine.records import AuditFilter, AuditRow
from workflow_engine.store.pool import Pool

_COLUMNS = "id, at, principal, key_id, address, request_id, method, path, operation, workflow_id, status, times, reason"
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
        self, which: AuditFilter, *, before: int | None = None, among: int, limit: int
    ) -> tuple[list[AuditRow], int | None, bool]:
        """One page of those among so many rows, latest first.

        Args:
            before: Only those with a lower id: the last one of the page before.
            among: So many rows are looked through: of the workflow or principal that is meant, else of all.
            limit: At most so many.

        Returns:
            The rows; before which id the next page begins, None: there is none; and whether it is there because not all
            were looked at.
        """
        low, high = await self._bounds(which, before)
        query, parameters = list_query(which, low=low, high=high, among=among, limit=limit + 1)
        found = await self._pool.rows(AuditRow, query, parameters, walks=True)
        if len(found) > limit:
            return found[:limit], found[limit - 1].id, False
        further: int | None = await self._pool.value(
            f"select id from ({_looked_at(which)}) a {_in_order(which)} offset %(among)s - 1 limit 1",
            parameters,
            repeatable=True,
            walks=True,
        )
        if further is not None:
            found = [row for row in found if row.id >= further]  # what was added in between has moved the edge
        return found, further, further is not None

    async def _bounds(self, which: AuditFilter, before: int | None) -> tuple[int, int]:
        """From which id on and before which there may be rows of these times."""
        high = _LAST if before is None else before
        if which.since is None and which.until is None:
            return 0, high
        low, later = await self._pool.value(
            "select jsonb_build_array(coalesce(workflow.audit_id_at(%s::timestamptz), 0),"
            " workflow.audit_id_at(%s::timestamptz + interval '2 minutes'))",
            [which.since, which.until],
            repeatable=True,
        )
        return low, high if later is None else min(high, later)


def list_query(which: AuditFilter, *, low: int, high: int, among: int, limit: int) -> tuple[str, dict[str, Any]]:
    """The statement for rows with ids from `low` to below `high`, and its parameters."""
    meets = {
        "a.principal = %(principal)s": which.principal is not None,
        "a.operation = %(operation)s": which.operation is not None and not which.operation.endswith("*"),
        "starts_with(a.operation, %(operation)s)": which.operation is not None and which.operation.endswith("*"),
        "a.status = %(status)s": which.status is not None,
        "a.at >= %(since)s": which.since is not None,
        "a.at < %(until)s": which.until is not None,
    }
    where = " and ".join(condition for condition, asked in meets.items() if asked) or "true"
    # First the few columns by which they are chosen, which the index of principals has.
    query = (
        f"select {_COLUMNS} from workflow.audit_list where id = any(array("
        f" select a.id from ({_looked_at(which)}) a where {where} {_in_order(which)} limit %(limit)s)) order by id desc"
    )
    operation = which.operation and which.operation.removesuffix("*")
    bounds = {"low": low, "high": high, "among": among, "limit": limit}
    return query, {**asdict(which), "operation": operation, **bounds}


def _looked_at(which: AuditFilter) -> str:
    """So many rows, by the index that has those of the workflow or principal, else by the ids."""
    column = _indexed(which)
    # Not by `=`: then the order would be by the id alone, and Postgres may walk through all rows to find few.
    those = f" and a.{column} between %({column})s and %({column})s" if column else ""
    return (
        f"select a.* from workflow.audit_list a where a.id >= %(low)s and a.id < %(high)s{those}"
        f" {_in_order(which)} limit %(among)s"
    )


def _in_order(which: AuditFilter) -> str:
    """Latest first, as the index has it that is walked."""
    column = _indexed(which)
    return f"order by a.{column} desc, a.id desc" if column else "order by a.id desc"


def _indexed(which: AuditFilter) -> str | None:
    if which.workflow_id is not None:
        return "workflow_id"
    return "principal" if which.principal is not None else None
