"""What operators do to one workflow: cancel, retry, pause, pin, give it another budget."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from workflow_engine.records import PausedWorkflow
from workflow_engine.store.pool import Pool
from workflow_engine.store.workflows import workflow_key


class Control:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def cancel(
        self, workflow_id: str, *, reason: str | None = None, by: str | None = None
    ) -> tuple[str, str, str | None]:
        """End a workflow now. One that has handlers, or something to undo, has its ending first.

        Args:
            reason: Why; with `by`, who asks for it, it is in the error of the workflow.

        Returns:
            Its status before, where `cancelled` says that nothing was left to do; its status now; and during an ending
            the status that it is going to have.

        Raises:
            WorkflowNotFound: There is no such workflow.
            InvalidTransition: It has succeeded or failed.
        """
        id_ = workflow_key(workflow_id)
        before: str = await self._pool.value("select workflow.cancel(%s, %s, %s)", [id_, reason, by], repeatable=True)
        status, ending = await self._pool.value(
            "select jsonb_build_array(status, ending) from workflow.workflows where id = %s", [id_], repeatable=True
        )
        return before, status, ending

    async def retry(self, workflow_id: str, *, force: bool = False) -> int:
        """Run again what failed, or wake a pending workflow.

        Returns:
            How many tasks were reopened or given a job.

        Raises:
            WorkflowNotFound: There is no such workflow.
            InvalidTransition: It runs, has succeeded, or was cancelled and `force` is false.
        """
        count: int = await self._pool.value("select workflow.retry(%s, %s)", [workflow_key(workflow_id), force])
        return count

    async def pin(self, workflow_id: str, version: int) -> None:
        """Pin a workflow to a version: a pending one goes on with it at once, others when a retry starts them again.

        Raises:
            WorkflowNotFound: There is no such workflow.
            DefinitionNotFound: There is no such version.
            InvalidTransition: It has succeeded.
        """
        await self._pool.value("select workflow.pin(%s, %s)", [workflow_key(workflow_id), version], repeatable=True)

    async def unpin(self, workflow_id: str) -> None:
        """Take a pin back: a pending workflow goes on with the version it was started with.

        Raises:
            WorkflowNotFound: There is no such workflow.
            InvalidTransition: It has succeeded.
        """
        await self._pool.value("select workflow.unpin(%s)", [workflow_key(workflow_id)], repeatable=True)

    async def pause(self, workflow_id: str, *, by: str | None = None, reason: str | None = None) -> PausedWorkflow:
        """Claim nothing more of a workflow until it is resumed; what runs may end.

        Args:
            by: Who asks for it.
            reason: Why; both are shown to whoever finds it paused.

        Raises:
            WorkflowNotFound: There is no such workflow.
            InvalidTransition: It has ended.
        """
        return _paused(
            await self._pool.value(
                "select workflow.pause_workflow(%s, %s, %s)", [workflow_key(workflow_id), by, reason], repeatable=True
            )
        )

    async def resume(self, workflow_id: str) -> PausedWorkflow:
        """Let a paused workflow go on.

        Raises:
            WorkflowNotFound: There is no such workflow.
            InvalidTransition: It has ended.
        """
        return _paused(
            await self._pool.value("select workflow.resume_workflow(%s)", [workflow_key(workflow_id)], repeatable=True)
        )

    async def set_budget(self, workflow_id: str, bounds: Mapping[str, Any], on_exceeded: str | None) -> dict[str, Any]:
        """Give a workflow other bounds; one that its budget had paused goes on if it is not used up any more.

        Args:
            bounds: `tokens`, `cost_usd` and `steps` with `soft` and `hard`; those that are named are replaced.
            on_exceeded: What a hard bound does; None = as before.

        Returns:
            The bounds with what is used up of them.

        Raises:
            WorkflowNotFound: There is no such workflow.
        """
        usage: dict[str, Any] = await self._pool.value(
            "select workflow.set_budget(%s, %s, %s)",
            [workflow_key(workflow_id), Jsonb(bounds), on_exceeded],
            repeatable=True,
        )
        return usage


def _paused(answer: dict[str, Any]) -> PausedWorkflow:
    since = answer["paused_at"]
    return PausedWorkflow(
        UUID(answer["id"]),
        answer["status"],
        datetime.fromisoformat(since) if since else None,
        answer["by"],
        answer["reason"],
    )
