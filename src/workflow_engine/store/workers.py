"""Workers, the task types they brought, and the engine's own view of Postgres."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from workflow_engine.errors import WorkerNotFound
from workflow_engine.records import Worker, WorkerTask
from workflow_engine.store.pool import Pool

_COLUMNS = (
    "id, name, host, pid, version, queues, task_types, concurrency, status, rss_bytes, started_at, last_heartbeat_at,"
    " stopped_at, age_seconds, current_tasks, lost_tasks, status_reason, drained_at, drained_by"
)


class Workers:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def count_active(self) -> int:
        """How many workers are alive and take tasks."""
        count: int = await self._pool.value(
            "select count(*) from workflow.worker_list where status = 'active'", repeatable=True
        )
        return count

    async def task_types(self) -> list[str]:
        """Names of all known task types, built-in and registered."""
        names = await self._pool.value(
            "select coalesce(jsonb_agg(name order by name), '[]') from workflow.task_types", repeatable=True
        )
        return list(names)

    async def register(
        self,
        *,
        name: str,
        host: str,
        pid: int,
        version: str,
        queues: Sequence[str],
        types: Sequence[Mapping[str, Any]],
        concurrency: int,
        heartbeat_seconds: float,
        queue_worker_id: int,
    ) -> int:
        """Record a worker process and the task types it can run; returns its id.

        Args:
            types: `name`, `description`, and the defaults of their handlers: `timeout` in seconds, `max_attempts`.
        """
        document = orjson.dumps(list(types))
        return int(
            await self._pool.value(
                "select workflow.register_worker(%s, %s, %s, %s, %s, %s::jsonb, %s, %s, %s)",
                [
                    name,
                    host,
                    pid,
                    version,
                    list(queues),
                    document.decode(),
                    concurrency,
                    heartbeat_seconds,
                    queue_worker_id,
                ],
            )
        )

    async def set_status(self, worker_id: int, status: str, reason: str | None = None) -> None:
        """Mark a worker as `draining` (it claims nothing), `active` again or, as its last word, `stopped`."""
        await self._pool.value(
            "select workflow.set_worker_status(%s, %s, %s)", [worker_id, status, reason], repeatable=True
        )

    async def get(self, worker_id: int) -> Worker:
        """One worker, alive or not.

        Raises:
            WorkerNotFound: There is none with this id.
        """
        found = await self._pool.rows(Worker, f"select {_COLUMNS} from workflow.worker_list where id = %s", [worker_id])
        if not found:
            hint = "GET /api/v1/workers lists those that are alive."
            raise WorkerNotFound(f"There is no worker {worker_id}.", hint=hint)
        return found[0]

    async def drain(self, worker_id: int, *, by: str | None = None) -> None:
        """Let a worker claim nothing more; what it runs goes on.

        Raises:
            WorkerNotFound: There is none with this id.
            InvalidTransition: It is dead or has stopped.
        """
        await self._pool.value("select workflow.drain_worker(%s, %s)", [worker_id, by], repeatable=True)

    async def undrain(self, worker_id: int) -> None:
        """Let a worker that was drained claim again.

        Raises:
            WorkerNotFound: There is none with this id.
            InvalidTransition: It is dead or has stopped.
        """
        await self._pool.value("select workflow.undrain_worker(%s)", [worker_id], repeatable=True)

    async def tasks(self, worker_ids: Sequence[int], *, limit: int = 1000) -> dict[int, builtins.list[WorkerTask]]:
        """What these held when they were last heard of, and what became of it: so many tasks that were taken back from
        each, and so many in all that they still hold."""
        found: dict[int, builtins.list[WorkerTask]] = {worker_id: [] for worker_id in worker_ids}
        query = "select * from workflow.tasks_of_workers(%s::bigint[], %s)"
        for task in await self._pool.rows(WorkerTask, query, [[*worker_ids], limit]) if worker_ids else ():
            found[task.worker_id].append(task)
        return found

    # Last, since `list` in the annotations above means the built-in one.
    async def list(self, *, dead: bool = False) -> list[Worker]:
        """Workers that are alive (active or draining), or the dead ones with what they held; oldest first."""
        return await self._pool.rows(
            Worker,
            f"select {_COLUMNS} from workflow.worker_list where status = any(%s) order by id",
            [["dead"] if dead else ["active", "draining"]],
        )
