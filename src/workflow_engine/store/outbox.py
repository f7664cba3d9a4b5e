"""The outbox: what workflows have emitted, and its delivery."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from workflow_engine.records import Delivery, Webhook
from workflow_engine.store.pool import Pool

_COLUMNS = (
    "id, workflow_id, task_id, name, payload, kind, target, status, tries, created_at, due_at, delivered_at, error,"
    " receivers"
)


class Outbox:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def deliver_signals(self, *, limit: int = 200) -> tuple[dict[str, int], list[dict[str, Any]]]:
        """Deliver emitted signals that are due.

        Returns:
            How many were `delivered`, are `dead` letters now, and were `split` to all that wait; and those that are
            dead now, with `id`, `workflow_id`, `name`, `target` and `error`.
        """
        done = await self._pool.value("select workflow.deliver_signals(%s)", [limit], repeatable=True)
        letters = done.pop("letters")
        return done, letters

    async def take_webhooks(self, limit: int, *, each: int, busy: Collection[str], seconds: float) -> list[Webhook]:
        """Take webhooks that are due for a try, by nobody else for `seconds`.

        Args:
            limit: At most so many.
            each: At most so many to one host.
            busy: Hosts (with scheme) that get none now.
        """
        taken = await self._pool.value(
            "select workflow.take_webhooks(%s, %s, %s, %s)", [limit, each, list(busy), seconds]
        )
        return [
            Webhook(
                id=UUID(row["id"]),
                workflow_id=UUID(row["workflow_id"]),
                task_id=row["task_id"],
                name=row["name"],
                payload=row["payload"],
                url=row["url"],
                origin=row["origin"],
                tries=row["tries"],
                created_at=datetime.fromisoformat(row["created_at"]),
            )
            for row in taken
        ]

    async def end_webhook(
        self, webhook: Webhook, error: str | None = None, *, delay: float | None = None
    ) -> str | None:
        """Note how a try went.

        Args:
            error: None when it was delivered.
            delay: Seconds until the next try; None gives it up.

        Returns:
            Its status; None when it has been taken anew meanwhile.
        """
        status: str | None = await self._pool.value(
            "select workflow.end_webhook(%s, %s, %s, %s::double precision)",
            [webhook.id, webhook.tries, error, delay],
            repeatable=True,
        )
        return status

    async def redeliver(self, id: UUID) -> Delivery:
        """Send again what was given up, or at once what waits for its next try.

        Raises:
            DeliveryNotFound: There is none with this id.
            InvalidTransition: It was delivered.
        """
        await self._pool.value("select workflow.redeliver(%s)", [id], repeatable=True)
        (found,) = await self._pool.rows(Delivery, f"select {_COLUMNS} from workflow.outbox_list where id = %s", [id])
        return found

    async def list(
        self,
        *,
        status: Sequence[str] = (),
        workflow_id: UUID | None = None,
        before: UUID | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        """What was emitted, newest first.

        Args:
            status: Only these; empty: all.
            before: Only what is older than this one.
        """
        conditions = ["true"]
        if status:
            conditions.append("status = any(%(status)s)")
        if workflow_id is not None:
            conditions.append("workflow_id = %(workflow)s")
        if before is not None:
            conditions.append("id < %(before)s")
        return await self._pool.rows(
            Delivery,
            f"select {_COLUMNS} from workflow.outbox_list where {' and '.join(conditions)}"
            " order by id desc limit %(limit)s",
            {"status": list(status), "workflow": workflow_id, "before": before, "limit": limit},
        )
