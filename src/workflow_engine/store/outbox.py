"""The outbox: what workflows have emitted, and its delivery."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from workflow_engine.errors import DeliveryNotFound
from workflow_engine.records import Delivery, DeliveryTarget, Webhook
from workflow_engine.states import DeliveryStatus
from workflow_engine.store.pool import Pool

_COLUMNS = (
    "id, workflow_id, task_id, name, payload, kind, target, status, tries, created_at, due_at, delivered_at, error,"
    " receivers"
)
# For lists: without what may be large.
_LINE = (
    "id, workflow_id, task_id, name, null::jsonb as payload, kind, left(target, 1000) as target, status, tries,"
    " created_at, due_at, delivered_at, left(error, 1000) as error, receivers"
)
# As the index has them, and not by `=`: then the order would be by the id alone, and Postgres may walk through all rows
# of other states to find few.
_OF_STATUS = "o.status between s.status and s.status"
_NEWEST = " order by o.status desc, o.id desc"
_AMONG = 20_000  # of each status, in which those are looked for that the other filters name


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
        return await self.get(id)

    async def get(self, id: UUID) -> Delivery:
        """One delivery.

        Raises:
            DeliveryNotFound: There is none with this id.
        """
        found = await self._pool.rows(Delivery, f"select {_COLUMNS} from workflow.outbox_list where id = %s", [id])
        if not found:
            raise DeliveryNotFound(
                f"There is no delivery {id}.", hint="GET /api/v1/outbox lists those that are not delivered."
            )
        return found[0]

    async def redeliver_many(self, ids: Sequence[UUID]) -> int:
        """Send again those of these that were given up, or at once those that wait; returns how many that are."""
        count: int = await self._pool.value("select workflow.redeliver_many(%s)", [list(ids)], repeatable=True)
        return count

    async def targets(self, *, limit: int = 10) -> Sequence[DeliveryTarget]:
        """Where deliveries do not get through: of the newest that were given up or have failed, by target, the most
        first."""
        return await self._pool.rows(
            DeliveryTarget,
            "select o.kind, o.origin, count(*) filter (where o.status = 'dead') as dead,"
            " count(*) filter (where o.status = 'pending') as failing, max(o.created_at) as newest,"
            " (array_agg(left(o.error, 500) order by o.id desc))[1] as error"
            " from unnest(array['dead', 'pending']) s(status) cross join lateral ("
            "  select o.id, o.status, o.kind, coalesce(o.origin, '') as origin, o.created_at, o.error"
            f" from workflow.outbox o where {_OF_STATUS} and o.copy_of is null"
            f"{_NEWEST} limit {_AMONG}) o"
            " where o.status = 'dead' or o.error is not null"
            " group by 1, 2 order by count(*) desc, 1, 2 limit %s",
            [limit],
            walks=True,
        )

    # Last, since `list` in the annotations above means the built-in one.
    async def list(
        self,
        *,
        status: Sequence[str] = (),
        workflow_id: UUID | None = None,
        origin: str | None = None,
        failing: bool = False,
        before: UUID | None = None,
        brief: bool = False,
        limit: int = 100,
    ) -> list[Delivery]:
        """What was emitted, newest first. Without a workflow, among the newest of each status.

        Args:
            status: Only these; empty: all.
            origin: Only webhooks to this scheme and host; empty: only signals.
            failing: Only those of which the last try has failed.
            before: Only what is older than this one.
            brief: Without payloads; the beginning of a long error is enough.
        """
        meant = (
            "(%(origin)s::text is null or coalesce(o.origin, '') = %(origin)s)"
            " and (not %(failing)s or o.error is not null)"
        )
        older = "o.copy_of is null and (%(before)s::uuid is null or o.id < %(before)s)"
        if workflow_id is not None:
            ids = (
                f"select o.id from workflow.outbox o where o.workflow_id = %(workflow)s and {older} and {meant}"
                " and o.status = any(%(status)s) order by o.id desc limit %(limit)s"
            )
        else:  # the newest of each status, by their index
            ids = (
                "select x.id from unnest(%(status)s::text[]) s(status) cross join lateral ("
                f" select o.id from (select o.id, o.status, o.origin, o.error from workflow.outbox o"
                f"   where {_OF_STATUS} and {older}{_NEWEST} limit {_AMONG}) o"
                f" where {meant}{_NEWEST} limit %(limit)s) x order by x.id desc limit %(limit)s"
            )
        return await self._pool.rows(
            Delivery,
            f"select {_LINE if brief else _COLUMNS} from workflow.outbox_list where id = any(array({ids}))"
            " order by id desc",
            {
                "status": list(status) or [each.value for each in DeliveryStatus],
                "workflow": workflow_id,
                "origin": origin,
                "failing": failing,
                "before": before,
                "limit": limit,
            },
            walks=True,
        )
