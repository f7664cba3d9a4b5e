"""Approvals: look at them, answer them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from workflow_engine.errors import ApprovalNotFound
from workflow_engine.records import Approval
from workflow_engine.states import ApprovalStatus
from workflow_engine.store.pool import Pool

_COLUMNS = (
    "id, workflow_id, name, task_id, step, attempt, status, prompt, form_schema, assignees, outcomes, created_at,"
    " expires_at, outcome, data, by, at"
)
# For lists: without what may be large.
_LINE = (
    "id, workflow_id, name, task_id, step, attempt, status, left(prompt, 1000) as prompt, form_schema, assignees,"
    " outcomes, created_at, expires_at, outcome, null::jsonb as data, by, at"
)
_STORED = {"expired": ["expired", "open"]}  # an open one whose time is over is shown as expired
_STATUS = "case when a.status = 'open' and a.expires_at <= workflow.clock() then 'expired' else a.status end"
# As the index has them, and not by `=`: then the order would be by the id alone, and Postgres may walk through all rows
# of other states to find few.
_OF_STATUS = "a.status between {0} and {0}"
_OF_OPEN = _OF_STATUS.format("'open'")
_NEWEST = " order by a.status desc, a.id desc"
_AMONG = 20_000  # of each stored status, in which those are looked for that are meant


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

    async def those(self, ids: Sequence[UUID]) -> Sequence[Approval]:
        """Those of these approvals that there are; long questions are cut."""
        return await self._pool.rows(
            Approval, f"select {_LINE} from workflow.approval_list where id = any(%s) order by id", [list(ids)]
        )

    async def answer(self, id: UUID, outcome: str, data: Any, by: str | None) -> bool:
        """Answer one; its workflow goes on.

        Args:
            outcome: One of its outcomes.
            data: What its form asks for; the caller has held it against `Approval.form_of`.
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

    async def inbox(
        self,
        *,
        names: Collection[str] | None = None,
        after: tuple[datetime | None, UUID] | None = None,
        among: int,
        limit: int = 100,
    ) -> Sequence[Approval]:
        """Those that are open, in the order in which they want an answer: what is due first, then what was asked first.
        Long questions are cut.

        Args:
            names: Only those that have one of these among their assignees, or have none; None: all.
            after: Only what comes after the one with this due time and id.
            among: Look at no more than the oldest so many.
        """
        return await self._pool.rows(
            Approval,
            # First the few columns by which they are chosen.
            "with o as materialized ("
            " select a.id, a.expires_at, a.assignees from workflow.approvals a"
            f" where {_OF_OPEN} order by a.status, a.id limit %(among)s)"
            f" select {_LINE} from workflow.approval_list where id = any(array("
            "  select o.id from o where (o.expires_at is null or o.expires_at > workflow.clock())"
            "  and (%(names)s::text[] is null or o.assignees = '{}' or o.assignees && %(names)s)"
            "  and (%(after)s::uuid is null or (coalesce(o.expires_at, 'infinity'), o.id)"
            "       > (coalesce(%(due)s::timestamptz, 'infinity'), %(after)s))"
            "  order by o.expires_at, o.id limit %(limit)s))"
            " order by expires_at, id",
            {
                "names": None if names is None else list(names),
                "due": after and after[0],
                "after": after and after[1],
                "among": among,
                "limit": limit,
            },
            walks=True,
        )

    async def count_open(self, *, names: Collection[str], among: int) -> int:
        """How many of the oldest open ones have one of these among their assignees, or have none."""
        count: int = await self._pool.value(
            "select count(*) from (select a.assignees, a.expires_at from workflow.approvals a"
            f" where {_OF_OPEN} order by a.status, a.id limit %s) o"
            " where (o.expires_at is null or o.expires_at > workflow.clock())"
            " and (o.assignees = '{}' or o.assignees && %s::text[])",
            [among, list(names)],
            repeatable=True,
            walks=True,
        )
        return count

    # Last, since `list` in the annotations above means the built-in one.
    async def list(
        self,
        *,
        status: Sequence[str] = (),
        workflow_id: UUID | None = None,
        before: UUID | None = None,
        brief: bool = False,
        limit: int = 100,
    ) -> list[Approval]:
        """Approvals, newest first.

        Args:
            status: Only these; empty: all.
            before: Only those that are older than this one.
            brief: The beginning of a long question is enough, and what was answered is not wanted.
        """
        meant = f"(cardinality(%(status)s::text[]) = 0 or {_STATUS} = any(%(status)s))"
        older = "(%(before)s::uuid is null or a.id < %(before)s)"
        if workflow_id is not None:
            ids = (
                "select a.id from workflow.approvals a"
                f" where a.workflow_id = %(workflow)s and {older} and {meant} order by a.id desc limit %(limit)s"
            )
        else:  # the newest of each stored status, by their index
            ids = (
                "select x.id from unnest(%(stored)s::text[]) s(status) cross join lateral ("
                f" select a.id from (select a.id, a.status, a.expires_at from workflow.approvals a"
                f"   where {_OF_STATUS.format('s.status')} and {older}{_NEWEST} limit {_AMONG}) a"
                f" where {meant}{_NEWEST} limit %(limit)s) x order by x.id desc limit %(limit)s"
            )
        wanted = status or [each.value for each in ApprovalStatus]
        return await self._pool.rows(
            Approval,
            f"select {_LINE if brief else _COLUMNS} from workflow.approval_list where id = any(array({ids}))"
            " order by id desc",
            {
                "status": list(status),
                "stored": sorted({kept for each in wanted for kept in _STORED.get(each, [each])}),
                "workflow": workflow_id,
                "before": before,
                "limit": limit,
            },
            walks=True,
        )
