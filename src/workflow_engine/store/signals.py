"""Signals: send them, look at them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from workflow_engine.errors import WorkflowNotFound
from workflow_engine.records import SentSignal, Signal
from workflow_engine.store.pool import Pool, as_uuid


class Signals:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def send(
        self, workflow_id: str, name: str, payload: Any, *, by: str | None = None, key: str | None = None
    ) -> SentSignal:
        """Send a signal to a workflow, before, while or after it waits for it.

        Args:
            by: Who sends it.
            key: Of idempotency: sent again with it, it is the same signal.

        Raises:
            WorkflowNotFound: There is no such workflow.
            InvalidTransition: It has ended.
            IdempotencyKeyReused: The key was used with another signal.
        """
        answer = await self._pool.value(
            "select workflow.signal(%s, %s, %s, %s, %s)",
            [_workflow(workflow_id), name, Jsonb(payload), by, key],
            repeatable=key is not None,
        )
        return SentSignal(
            answer["seq"],
            UUID(answer["workflow_id"]),
            answer["name"],
            datetime.fromisoformat(answer["at"]),
            answer["repeated"],
        )

    async def list(
        self, workflow_id: str, *, name: str | None = None, after: int = 0, limit: int = 100
    ) -> list[Signal]:
        """The signals of a workflow in the order they came.

        Args:
            after: Only those behind this one.

        Raises:
            WorkflowNotFound: There is no such workflow.
        """
        found = await self._pool.rows(
            Signal,
            "select seq, workflow_id, name, payload, by, at, taken_by, taken_at from workflow.signal_list"
            " where workflow_id = %(workflow)s and seq > %(after)s and (%(name)s::text is null or name = %(name)s)"
            " order by seq limit %(limit)s",
            {"workflow": _workflow(workflow_id), "after": after, "name": name, "limit": limit},
        )
        if not found and not await self._pool.value(
            "select true from workflow.workflows where id = %s", [_workflow(workflow_id)], repeatable=True
        ):
            raise WorkflowNotFound(f"There is no workflow {workflow_id}.")
        return found


def _workflow(text: str) -> UUID:
    found = as_uuid(text)
    if found is None:
        raise WorkflowNotFound(f"There is no workflow {text[:80]!r}.")
    return found
