"""How long attempts take, and which are slow: from the tables, so that every replica answers the same."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from workflow_engine.records import SlowAttempt, TaskFailures
from workflow_engine.store.pool import Pool


class TaskDurations:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def stats(self, *, window: float, type: str | None = None, among: int = 20_000) -> dict[str, Any]:
        """Mean, percentiles and counts of the attempts that ended in the last `window` seconds, and of those that run.

        See `workflow.task_stats` for the keys. At most `among` of those that ended are looked at.
        """
        stats: dict[str, Any] = await self._pool.value(
            "select workflow.task_stats(%s, %s, %s)", [timedelta(seconds=window), type, among], repeatable=True
        )
        return stats

    async def slow(
        self, *, threshold: float, window: float, type: str | None = None, limit: int = 100
    ) -> list[SlowAttempt]:
        """Attempts of at least `threshold` seconds, longest first: ended in the last `window` seconds, or running."""
        return await self._pool.rows(
            SlowAttempt,
            "select * from workflow.slow_tasks(%s, %s, %s, %s)",
            [timedelta(seconds=threshold), timedelta(seconds=window), type, limit],
        )

    async def failures(self, type: str, *, window: float) -> list[TaskFailures]:
        """What goes wrong with the tasks of a type, the most frequent first: among the newest attempts."""
        return await self._pool.rows(
            TaskFailures, "select * from workflow.task_failures(%s, %s)", [type, timedelta(seconds=window)]
        )
