"""Orphaned workflows: live ones that nobody moves any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from workflow_engine.records import OrphanedTask, Recovery
from workflow_engine.store.pool import Pool, as_uuid

_BATCH = 100  # workflows of one transaction


class Orphans:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def recover(
        self,
        ids: Sequence[str] | None = None,
        *,
        action: str = "recover",
        dry_run: bool = False,
        max_crashes: int,
        grace_seconds: float,
    ) -> Recovery:
        """Make orphaned workflows go on, or end them, in transactions of some hundred workflows at most.

        Args:
            ids: Only these; None = all that `list` finds.
            action: `recover` or `cancel`.
            dry_run: Change nothing, say what would be done.
            max_crashes: Lost claims after which a task fails.
            grace_seconds: Time after a start of Postgres in which nothing that runs is judged.
        """
        skipped: list[dict[str, str]] = []
        if ids is None:
            found = await self.list(grace_seconds=grace_seconds)
            asked = list(dict.fromkeys(task.workflow_id for task in found))
        else:
            asked = list(dict.fromkeys(known for id_ in ids if (known := as_uuid(id_))))
            unknown = dict.fromkeys(id_ for id_ in ids if as_uuid(id_) is None)
            skipped += [{"id": id_, "why": "There is no workflow with this id."} for id_ in unknown]
        recovered: list[str] = []
        cancelled: list[str] = []
        tasks: Counter[str] = Counter()
        for first in range(0, len(asked), _BATCH):
            answer = await self._pool.value(
                "select workflow.recover_orphaned(%s, %s::uuid[], %s, %s, %s)",
                [action, asked[first : first + _BATCH], dry_run, max_crashes, grace_seconds],
                repeatable=dry_run,
            )
            recovered += answer["recovered"]
            cancelled += answer["cancelled"]
            skipped += answer["skipped"]
            tasks.update(answer["tasks"])
        return Recovery(recovered, cancelled, skipped, dict(tasks))

    # Last, since `list` in the annotations above means the built-in one.
    async def list(self, *, grace_seconds: float) -> list[OrphanedTask]:
        """The tasks that make workflows orphans, longest first: all that run, and lost wake-ups of the 1,000 oldest.

        Args:
            grace_seconds: Time after a start of Postgres in which nothing that runs is judged.
        """
        return await self._pool.rows(
            OrphanedTask, "select * from workflow.orphaned_tasks(p_grace_seconds => %s)", [grace_seconds]
        )
