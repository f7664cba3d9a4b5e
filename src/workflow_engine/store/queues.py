"""One queue: what is ready in it, what runs, and how it was."""

from __future__ import annotations

from workflow_engine.records import QueuedTask, QueueMoment
from workflow_engine.store.pool import Pool

# A lookup for each task that `j` names, in their order.
_NAMED = (
    " cross join lateral (select t.* from workflow.tasks t where t.id = j.task_id offset 0) t"
    " cross join lateral (select w.name from workflow.workflows w where w.id = t.workflow_id offset 0) w"
    " cross join lateral (select s.id, s.type from workflow.definition_steps s"
    "   where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s"
)
_TASK = (
    "select j.task_id, t.workflow_id, w.name as workflow_name, s.id as step, s.type, t.priority, t.attempt,"
    " {since} as since, {worker} as worker"
)


class Queues:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def history(self, queue: str, *, seconds: float, points: int = 120) -> list[QueueMoment]:
        """How many tasks were pending and how long they had waited, oldest first; nothing where nobody looked."""
        return await self._pool.rows(
            QueueMoment,
            "select * from workflow.history_of_queue(%s, make_interval(secs => %s), %s)",
            [queue, seconds, points],
        )

    async def ready(self, queue: str, *, limit: int) -> list[QueuedTask]:
        """Pending tasks that are not held, in the order in which they are claimed."""
        return await self._pool.rows(
            QueuedTask,
            f"{_TASK.format(since='t.pending_since', worker='null')}"
            " from ((select (j.args ->> 'task_id')::bigint as task_id, 1 as part, -j.priority as first, j.id as second"
            "        from workflow.jobs j"
            "        where j.status = 'todo' and j.scheduled_at is null and j.queue_name = %(queue)s"
            "        order by j.priority desc, j.id limit %(limit)s)"
            "       union all"
            "       (select (j.args ->> 'task_id')::bigint, 2, extract(epoch from j.scheduled_at)::bigint, j.id"
            "        from workflow.jobs j"
            "        where j.status = 'todo' and j.scheduled_at is not null and j.queue_name = %(queue)s"
            "          and j.scheduled_at <= workflow.clock()"
            "        order by j.scheduled_at limit %(limit)s)) j"
            f"{_NAMED} order by j.part, j.first, j.second limit %(limit)s",
            {"queue": queue, "limit": limit},
        )

    async def running(self, queue: str, *, limit: int) -> list[QueuedTask]:
        """Tasks that run, the longest first."""
        return await self._pool.rows(
            QueuedTask,
            f"{_TASK.format(since='t.started_at', worker='k.name')}"
            " from (select (j.args ->> 'task_id')::bigint as task_id from workflow.jobs j"
            "       where j.status = 'doing' and j.queue_name = %(queue)s) j"
            f"{_NAMED}"
            " left join lateral (select k.name from workflow.workers k where k.id = t.worker_id offset 0) k on true"
            " where t.status = 'running' order by t.started_at limit %(limit)s",
            {"queue": queue, "limit": limit},
        )
