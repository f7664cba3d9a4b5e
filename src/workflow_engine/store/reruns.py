"""Starting workflows again from a step, and tasks that succeed by an operator's word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from workflow_engine.records import Rerun
from workflow_engine.store.pool import Pool


class Reruns:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def rerun(
        self,
        workflow_id: UUID,
        *,
        start: str | None = None,
        input: Any = None,
        version: int | None = None,
        dry_run: bool = False,
        key: str | None = None,
        fingerprint: str = "",
        principal: str = "",
    ) -> Rerun:
        """Start a workflow again: a new one that begins with the results of the steps that are not behind `start`.

        Args:
            workflow_id: One that has ended.
            start: Id of a step: it and what is behind it runs again. None: everything.
            input: Of the new workflow; None: as before.
            version: Of the definition; None: as before.
            dry_run: Only say what would be done.
            key: Idempotency key.
            fingerprint: Identifies the request that has the key.
            principal: Who asks; keys of different principals do not meet.

        Raises:
            WorkflowNotFound: There is no such workflow.
            TaskNotFound: There is no such step.
            DefinitionNotFound: There is no such version.
            DefinitionDisabled: The definition was deleted.
            InvalidTransition: The workflow has not ended.
            IdempotencyKeyReused: The key came before with another fingerprint.
            EnginePaused: The engine accepts nothing new.
        """
        answer: Mapping[str, Any] = await self._pool.value(
            "select workflow.rerun(%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                workflow_id,
                start,
                None if input is None else Jsonb(input),
                version,
                dry_run,
                key,
                fingerprint,
                principal,
            ],
            repeatable=dry_run or key is not None,
        )
        return Rerun(**{**answer, "id": answer["id"] and UUID(answer["id"])})

    async def skip(self, task_id: int, output: Any, *, reason: str | None = None) -> int:
        """Let a task succeed with an output instead of running it; returns how many others run again with it.

        Raises:
            TaskNotFound: There is no such task.
            InvalidTransition: It runs, or has ended otherwise than by failing; or its workflow forbids it.
        """
        count: int = await self._pool.value(
            "select workflow.skip_task(%s, %s, %s)", [task_id, Jsonb(output), reason], repeatable=True
        )
        return count
