"""Approvals: look at them, answer them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from workflow_engine.errors import ApprovalNotFound
from workflow_engine.records import Approval
from workflow_engine.store.pool import Pool

_COLUMNS = (
    "id, workflow_id, name, task_id, step, attempt, status, prompt, form_schema, assignees, outcomes, created_at,"
    " expires_at, outcome, data, by, at"
)
_STORED = {"expired": ["expired", "open"]}  # an open one whose time is over is shown as expired


class Approvals:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, id: UUID) -> Approval:
        """One approval.

        Raises:
            ApprovalNotFound: There is none with this id.
        """
        found = await self._pool.rows(Approval, f"select {_COLUMNS} from workflow.approval_list where id = %s", [id])
        if not found:
            raise ApprovalNotFound(
                f"There is no approval {id}.", hint="GET /api/v1/approvals lists those that are open."
            )
        return found[0]

    async def answer(self, id: UUID, outcome: str, data: Any, by: str | None) -> bool:
        """Answer one; its workflow goes on.

        Args:
            outcome: One of its outcomes.
            data: What its form asks for; the caller has held it against the form.
            by: Who answers.

        Returns:
            Whether it had been answered with the same before; nothing changed then.

        Raises:
            ApprovalNotFound: There is none with this id.
            InvalidTransition: It was answered otherwise, is expired or was withdrawn.
        """
        answer = await self._pool.value(
            "select workflow.answer_approval(%s, %s, %s, %s)", [id, outcome, Jsonb(data), by], repeatable=True
        )
        return bool(answer["repeated"])

    async def list(
        self,
        *,
        status: Sequence[str] = (),
        workflow_id: UUID | None = None,
        before: UUID | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        """Approvals, newest first.

        Args:
            status: Only these; empty: all.
            before: Only those that are older than this one.
        """
        stored = sorted({kept for wanted in status for kept in _STORED.get(wanted, [wanted])})
        conditions = ["true"]
        if status:
            conditions.append("status = any(%(status)s)")
        if workflow_id is not None:
            conditions.append("workflow_id = %(workflow)s")
        if before is not None:
            conditions.append("id < %(before)s")
        # By the stored status first, which has an index.
        among = "where a.status = any(%(stored)s)" if status else ""
        return await self._pool.rows(
            Approval,
            f"select {_COLUMNS} from workflow.approval_list"
            f" where id in (select a.id from workflow.approvals a {among}) and {' and '.join(conditions)}"
            " order by id desc limit %(limit)s",
            {"status": list(status), "stored": stored, "workflow": workflow_id, "before": before, "limit": limit},
        )
