"""Locks and limits: who holds them and who waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from workflow_engine.errors import WorkflowNotFound
from workflow_engine.records import Deadlock, LockInUse, LockPlace, LockWait, ReleasedLocks
from workflow_engine.store.cycles import find_cycles
from workflow_engine.store.pool import Pool, as_uuid

MOST = 1000
"""Locks and limits of one page."""


class Locks:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def release(self, workflow_id: str) -> ReleasedLocks:
        """Take the locks of a workflow away from it; running tasks that work under one lose their lease.

        Raises:
            WorkflowNotFound: There is no such workflow.
        """
        found = as_uuid(workflow_id)
        if found is None:
            raise WorkflowNotFound(f"There is no workflow {workflow_id[:80]!r}.")
        answer = await self._pool.value("select workflow.release_locks(%s)", [found], repeatable=True)
        return ReleasedLocks(UUID(answer["id"]), answer["locks"], answer["tasks"])

    async def deadlocks(self, workflow_id: UUID | None = None) -> Sequence[Deadlock]:
        """Workflows that wait for each other's locks at present; only circles with one of them, if it is given."""
        waits = [
            LockWait(
                waiter=UUID(edge["waiter"]),
                task_id=edge["task_id"],
                key=edge["key"],
                since=datetime.fromisoformat(edge["since"]),
                holder=UUID(edge["holder"]),
            )
            for edge in await self._pool.value("select workflow.lock_waits()", repeatable=True)
        ]
        graph: dict[UUID, set[UUID]] = {}
        for wait in waits:
            graph.setdefault(wait.waiter, set()).add(wait.holder)
        found = []
        for cycle in find_cycles(graph):
            next_of = dict(zip(cycle, (*cycle[1:], cycle[0]), strict=True))
            if workflow_id in (None, *cycle):
                found.append(Deadlock(cycle, [wait for wait in waits if next_of.get(wait.waiter) == wait.holder]))
        return found

    async def break_deadlock(self, deadlock: Deadlock) -> bool:
        """Fail the task that began to wait last; false when the circle is no longer there."""
        broken: bool = await self._pool.value(
            "select workflow.break_deadlock(%s, %s)",
            [deadlock.youngest.task_id, list(deadlock.workflows)],
            repeatable=True,
        )
        return broken

    async def of_workflow(self, workflow_id: UUID) -> Sequence[LockInUse]:
        """Those that one workflow holds or waits for."""
        return await self._read(_OF_WORKFLOW, {"workflow": workflow_id})

    # Its annotation is a sequence, since `list` in it would mean this one.
    async def list(
        self,
        *,
        after: str = "lock:",
        kind: str | None = None,
        prefix: str = "",
        waited: bool = False,
        limit: int = MOST,
    ) -> Sequence[LockInUse]:
        """What somebody holds or waits for, locks first, by key; at most 100 holders and waiters of each.

        Args:
            after: `kind:key` of the one before.
            kind: Only `lock` or `limit`.
            prefix: Only those whose keys begin so.
            waited: Only those that somebody waits for.
            limit: At most so many.
        """
        place, _, key = after.partition(":")
        values = {"place": place, "key": key, "kind": kind, "prefix": prefix, "waited": waited, "limit": limit}
        return await self._read(_ALL, values)

    async def count_waiting(self, *, most: int) -> int:
        """How many tasks are in line for locks and limits; not counted further than `most`."""
        count: int = await self._pool.value(
            "select count(distinct x.task_id) from ("
            "  select x.task_id from workflow.waits x where x.woken_at is null limit %s) x",
            [most],
            repeatable=True,
        )
        return count

    async def _read(self, those: str, values: Mapping[str, Any]) -> Sequence[LockInUse]:
        rows = await self._pool.value(
            "select coalesce(jsonb_agg(to_jsonb(l) order by l.kind desc, l.key), '[]')"
            f" from ({those}) k cross join lateral ("
            "  select l.* from workflow.lock_list l where l.kind = k.kind and l.key = k.key offset 0) l",
            values,
            repeatable=True,
        )
        return [
            LockInUse(
                kind=row["kind"],
                key=row["key"],
                used=row["used"],
                holding=row["holding"],
                waiting=row["waiting"],
                capacity=row["capacity"],
                holders=[_place(place) for place in row["holders"]],
                waiters=[_place(place) for place in row["waiters"]],
            )
            for row in rows
        ]


_ALL = """
    (select 'lock' as kind, n.key from (
        select h.key from workflow.holds h where h.kind = 'lock' and h.key > %(key)s and not %(waited)s
        union all
        select x.key from workflow.waits x where x.kind = 'lock' and x.woken_at is null and x.key > %(key)s) n
     where %(place)s = 'lock' and coalesce(%(kind)s, 'lock') = 'lock' and starts_with(n.key, %(prefix)s)
     group by n.key order by n.key limit %(limit)s)
    union all
    (select 'limit' as kind, n.key from (
        select h.key from workflow.holds h
        where h.kind = 'limit' and (%(place)s = 'lock' or h.key > %(key)s) and not %(waited)s
        union all
        select x.key from workflow.waits x
        where x.kind = 'limit' and x.woken_at is null and (%(place)s = 'lock' or x.key > %(key)s)) n
     where coalesce(%(kind)s, 'limit') = 'limit' and starts_with(n.key, %(prefix)s)
     group by n.key order by n.key limit %(limit)s)
    limit %(limit)s
"""
_OF_WORKFLOW = (
    "select h.kind, h.key from workflow.holds h where h.workflow_id = %(workflow)s union"
    " select x.kind, x.key from workflow.waits x where x.workflow_id = %(workflow)s and x.woken_at is null"
)


def _place(place: dict[str, Any]) -> LockPlace:
    return LockPlace(
        workflow_id=UUID(place["workflow_id"]),
        task_id=int(place["task_id"]),
        step=place["step"],
        scope=place["scope"],
        units=place["units"],
        since=datetime.fromisoformat(place["since"]),
    )
