"""What operators look at first: what is wrong, what does not go on. It costs the same with millions of workflows."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from workflow_engine.records import LiveWorkflow, Load, WorkflowSummary
from workflow_engine.store.pool import Pool
from workflow_engine.store.workflow_search import SUMMARY

MOST = 1000
"""Further than this nothing is counted."""

_AMONG = 5000  # the newest failed workflows, and the newest attempts, in which to look
# The same among all with an error: those that were cancelled have one, too, and may be very many at once.
_AMONG_ERRORS = 20_000


class Overview:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def last_event(self) -> int:
        """The number of the newest event there is; it grows when anything happens to a workflow."""
        last: int = await self._pool.value(
            "select coalesce(pg_sequence_last_value('workflow.event_seq'), 0)", repeatable=True
        )
        return last

    async def load(self, *, seconds: float = 3600, points: int = 120) -> list[Load]:
        """How many tasks were pending and how many attempts ended, oldest first; nothing where nobody looked."""
        return await self._pool.rows(
            Load, "select * from workflow.history_of_load(make_interval(secs => %s), %s)", [seconds, points]
        )

    async def failures(self, *, limit: int = 10) -> list[WorkflowSummary]:
        """Workflows that failed, the latest end first: among the newest ones, and among those of the newest attempts,
        since one that was created long ago may fail now."""
        return await self._pool.rows(
            WorkflowSummary,
            f"select {SUMMARY} from workflow.workflow_list where id = any(array("
            "  select f.id from ("
            "    (select w.id, w.finished_at from ("
            "       select w.id, w.finished_at, w.status from workflow.workflows w where w.error is not null"
            "       order by w.id desc limit %(errors)s) w"
            "     where w.status = 'failed' order by w.id desc limit %(limit)s)"
            "    union"
            "    (select w.id, w.finished_at from ("
            "       select distinct h.workflow_id from ("
            "         select a.workflow_id, a.outcome from workflow.attempt_history a"
            "         order by a.ended_at desc limit %(among)s) h"
            "       where h.outcome = 'failed' limit 100) h"
            "     cross join lateral (select w.* from workflow.workflows w where w.id = h.workflow_id offset 0) w"
            "     where w.status = 'failed')) f"
            "  order by f.finished_at desc limit %(limit)s)) order by finished_at desc",
            {"limit": limit, "among": _AMONG, "errors": _AMONG_ERRORS},
        )

    async def failed(self, *, seconds: float) -> int:
        """How many of the newest failed workflows failed so lately; `MOST` at most."""
        count: int = await self._pool.value(
            "select count(*) from (select 1 from ("
            "  select w.finished_at, w.status from workflow.workflows w where w.error is not null"
            "  order by w.id desc limit %s) w"
            " where w.status = 'failed'"
            " and w.finished_at > (select workflow.clock()) - make_interval(secs => %s) limit %s) f",
            [_AMONG, seconds, MOST],
            repeatable=True,
        )
        return count

    async def oldest(self, *, limit: int = 10) -> list[LiveWorkflow]:
        """The oldest workflows that have not ended, and why they do not go on."""
        return await self._pool.rows(
            LiveWorkflow,
            f"select {SUMMARY}, workflow.pending_reason(id) as pending_reason from workflow.workflow_list"
            " where id = any(array("
            "   select w.id from workflow.workflows w where w.finished_at is null order by w.id limit %s)) order by id",
            [limit],
        )

    async def names(self, ids: Sequence[UUID]) -> dict[UUID, str]:
        """The definitions of these workflows."""
        found: dict[str, str] = await self._pool.value(
            "select coalesce(jsonb_object_agg(w.id, w.name), '{}') from workflow.workflows w where w.id = any(%s)",
            [list(ids)],
            repeatable=True,
        )
        return {UUID(id_): name for id_, name in found.items()}

    async def reasons(self, ids: Sequence[UUID]) -> dict[UUID, str]:
        """Why these do not go on, in one word each; those that do are left out."""
        found: dict[str, str] = await self._pool.value(
            "select coalesce(jsonb_object_agg(r.id, r.reason), '{}') from ("
            " select i.id, workflow.pending_reason(i.id) as reason from unnest(%s::uuid[]) i(id)) r"
            " where r.reason is not null",
            [list(ids)],
            repeatable=True,
        )
        return {UUID(id_): reason for id_, reason in found.items()}
