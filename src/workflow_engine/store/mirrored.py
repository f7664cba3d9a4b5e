"""What the leader shows in Redis, as Postgres has it."""

from __future__ import annotations

from workflow_engine.records import HeldLocks, PendingQueue
from workflow_engine.store.pool import Pool


class Mirrored:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def pending_tasks(self, limit: int) -> list[PendingQueue]:
        """The pending tasks that are not held, by queue: at most `limit`, in one snapshot."""
        return await self._pool.rows(
            PendingQueue, "select queue, task_ids, pending from workflow.pending_tasks(%s)", [limit]
        )

    async def held_locks(self) -> list[HeldLocks]:
        """Which workflows hold locks."""
        return await self._pool.rows(
            HeldLocks, "select workflow_id, holder, acquired_at, what, seconds from workflow.held_locks()"
        )
