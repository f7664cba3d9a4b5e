"""One task: read it, run it again."""

from __future__ import annotations

from workflow_engine.errors import TaskNotFound
from workflow_engine.records import Task
from workflow_engine.store.pool import Pool

TASK_COLUMNS = (
    "id, workflow_id, step, path, type, status, attempt, queue, worker_id, timeout_override, pending_since,"
    " scheduled_at, started_at, finished_at, output, error, child_workflow_id, output_from,"
    " trace_id, span_id"
)
_FAILURES_AMONG = 10_000  # the newest attempts; without any failure more of them would be looked through in vain


class Tasks:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, task_id: int) -> Task:
        """One task.

        Raises:
            TaskNotFound: There is none with this id.
        """
        found = await self._pool.rows(
            Task, f"select {TASK_COLUMNS} from workflow.task_list where id = %s::bigint", [task_id]
        )
        if not found:
            raise TaskNotFound(
                f"There is no task {task_id}.", hint="GET /api/v1/workflows/{id}/tasks lists those of a workflow."
            )
        return found[0]

    async def failed_lately(self, *, limit: int = 3) -> list[int]:
        """Ids of tasks that failed, the latest first."""
        found = await self._pool.value(
            "select coalesce(jsonb_agg(f.task_id), '[]') from ("
            " select h.task_id from ("
            "  select task_id, outcome from workflow.attempt_history order by ended_at desc limit %s) h"
            " join workflow.tasks t on t.id = h.task_id"
            " where h.outcome = 'failed' and t.status = 'failed' limit %s) f",
            [_FAILURES_AMONG, limit],
            repeatable=True,
        )
        return list(found)

    async def retry(self, task_id: int, *, timeout: float | None = None, force: bool = False) -> int:
        """Run one task again, with what depends on it; or let a pending or scheduled one run now.

        Args:
            timeout: Seconds that its attempts may take from now on, until it ends; None changes nothing about it.
            force: Also when its workflow was cancelled.

        Returns:
            How many tasks were reopened or given a job.

        Raises:
            TaskNotFound: There is no such task.
            InvalidTransition: It runs, waits for others, has succeeded or was skipped; or its workflow forbids it.
        """
        count: int = await self._pool.value("select workflow.retry_task(%s, %s, %s)", [task_id, timeout, force])
        return count
