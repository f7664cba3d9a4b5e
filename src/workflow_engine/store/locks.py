"""Locks and limits: who holds them and who waits."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from workflow_engine.errors import WorkflowNotFound
from workflow_engine.records import LockInUse, LockPlace, ReleasedLocks
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
