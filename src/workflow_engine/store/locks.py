"""Locks and limits: who holds them and who waits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from workflow_engine.errors import WorkflowNotFound
from workflow_engine.records import Deadlock, LockInUse, LockPlace, LockWait, ReleasedLocks
from workflow_engine.store.cycles import find_cycles
from workflow_engine.store.pool import Pool, as_uuid


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

    # Last, since `list` in annotations would mean this one.
    async def list(self) -> list[LockInUse]:
        """All locks and limits that somebody holds or waits for, by key; at most 100 holders and waiters of each."""
        rows = await self._pool.value(
            "select coalesce(jsonb_agg(to_jsonb(l) order by l.kind desc, l.key), '[]') from workflow.lock_list l",
            repeatable=True,
        )
        return [
            LockInUse(
                kind=row["kind"],
                key=row["key"],
                used=row["used"],
                holding=row["holding"],
                waiting=row["waiting"],
                holders=[_place(place) for place in row["holders"]],
                waiters=[_place(place) for place in row["waiters"]],
            )
            for row in rows
        ]


def _place(place: dict[str, Any]) -> LockPlace:
    return LockPlace(
        workflow_id=UUID(place["workflow_id"]),
        task_id=int(place["task_id"]),
        step=place["step"],
        scope=place["scope"],
        units=place["units"],
        since=datetime.fromisoformat(place["since"]),
    )
