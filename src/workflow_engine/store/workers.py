"""Workers, the task types they brought, and the engine's own view of Postgres."""

from __future__ import annotations

from workflow_engine.records import Worker
from workflow_engine.store.pool import Pool


class Workers:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list(self, *, dead: bool = False) -> list[Worker]:
        """Workers that are alive (active or draining), or the dead ones with what they held; oldest first."""
        return await self._pool.rows(
            Worker,
            "select id, name, host, pid, version, queues, task_types, concurrency, status, rss_bytes, started_at,"
            " last_heartbeat_at, stopped_at, age_seconds, current_tasks from workflow.worker_list"
            " where status = any(%s) order by id",
            [["dead"] if dead else ["active", "draining"]],
        )

    async def task_types(self) -> list[str]:
        """Names of all known task types, built-in and registered."""
        names = await self._pool.value(
            "select coalesce(jsonb_agg(name order by name), '[]') from workflow.task_types", repeatable=True
        )
        return list(names)
