"""Schedules: look at them, pause them, and answer their due times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from workflow_engine.errors import ScheduleNotFound
from workflow_engine.records import (
    AnsweredSchedule,
    BackfilledStart,
    DueSchedule,
    Schedule,
    ScheduleCounts,
    ScheduledStart,
    StartedFor,
    StartedWorkflow,
)
from workflow_engine.store.pool import Pool

_ENTRIES = (
    "select s.*, coalesce(d.pinned_version, d.latest_version) as version"
    " from workflow.schedules s join workflow.definitions d on d.name = s.name"
)
_FAILED = "exists (select 1 from workflow.schedules e where e.name = s.name and e.last_error is not null)"
_KEY = 'to_char({} at time zone \'utc\', \'"@schedule "YYYY-MM-DD"T"HH24:MI:SS"Z"\')'


class Schedules:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, name: str) -> Sequence[Schedule]:
        """The entries of the schedule of a definition.

        Raises:
            ScheduleNotFound: It has none.
        """
        found = await self.list(name)
        if not found:
            raise ScheduleNotFound(
                f"There is no schedule {name[:80]!r}.",
                hint="A schedule belongs to a definition of that name: GET /api/v1/schedules lists them.",
            )
        return found

    async def pause(self, name: str) -> None:
        """Start nothing more by a schedule until it is resumed.

        Raises:
            ScheduleNotFound: There is none.
        """
        await self._pool.value("select workflow.pause_schedule(%s)", [name], repeatable=True)

    async def resume(self, name: str) -> None:
        """Let a paused schedule go on; what was due meanwhile is not started.

        Raises:
            ScheduleNotFound: There is none.
        """
        await self._pool.value("select workflow.resume_schedule(%s)", [name], repeatable=True)

    async def run(self, name: str, *, principal: str = "") -> StartedWorkflow:
        """Start one workflow now, beside the due times; `principal` is who asks.

        Raises:
            ScheduleNotFound: There is none.
            EnginePaused: The engine accepts nothing new.
        """
        started = await self._pool.value("select workflow.run_schedule(%s, %s)", [name, principal])
        return StartedWorkflow(
            UUID(started["id"]), started["name"], started["version"], started["status"], started.get("existing", False)
        )

    async def backfill(
        self, name: str, times: Sequence[tuple[int, datetime]], *, principal: str = ""
    ) -> Sequence[BackfilledStart]:
        """Start workflows for due times of the past for which there are none, all or none.

        Args:
            name: Of the definition.
            times: Positions in the schedule, with their due times.
            principal: Who asks.

        Raises:
            ScheduleNotFound: There is none.
            EnginePaused: The engine accepts nothing new.
        """
        document = Jsonb([{"position": position, "at": at.isoformat()} for position, at in times])
        answer = await self._pool.value(
            "select workflow.backfill_schedule(%s, %s, %s)", [name, document, principal], repeatable=True
        )
        return [
            BackfilledStart(UUID(s["id"]), s["status"], s["scheduled_for"], s.get("existing", False)) for s in answer
        ]

    async def due(self) -> tuple[datetime, Sequence[DueSchedule]]:
        """The database's time, and what is due by it or has to be worked out."""
        answer = await self._pool.value("select workflow.due_schedules()", repeatable=True)
        return datetime.fromisoformat(answer["now"]), [
            DueSchedule(
                **s
                | {
                    "since": datetime.fromisoformat(s["since"]),
                    "next_at": datetime.fromisoformat(s["next_at"]) if s["next_at"] else None,
                }
            )
            for s in answer["schedules"]
        ]

    async def answer(
        self, schedule: DueSchedule, times: Sequence[datetime], next_at: datetime | None, missed: int
    ) -> AnsweredSchedule:
        """Start what is due, once for each due time, and wait for `next_at` from then on.

        Args:
            schedule: As it was read.
            times: The due times to start workflows for.
            next_at: None = never again.
            missed: How many due times are passed over.

        Raises:
            EnginePaused: The engine accepts nothing new; nothing was changed.
        """
        answer = await self._pool.value(
            "select workflow.answer_schedule(%s, %s, %s, %s, %s, %s::timestamptz[], %s, %s)",
            [
                schedule.name,
                schedule.position,
                schedule.cron,
                schedule.timezone,
                schedule.next_at,
                list(times),
                next_at,
                missed,
            ],
            repeatable=True,
        )
        return AnsweredSchedule(
            answer["answered"],
            [UUID(id) for id in answer["started"]],
            answer["skipped"],
            answer["failed"],
            answer.get("error"),
        )

    async def counts(self) -> ScheduleCounts:
        """How many schedules there are, how many are paused, and of how many the last due time was refused."""
        (found,) = await self._pool.rows(
            ScheduleCounts,
            "select count(*) as total, count(*) filter (where s.paused_at is not null) as paused,"
            f" count(*) filter (where {_FAILED}) as failed from workflow.schedules s where s.position = 0",
            [],
        )
        return found

    async def starts(self, name: str, *, limit: int = 20) -> Sequence[ScheduledStart]:
        """The workflows that were started for the latest due times, those that were backfilled among them."""
        return await self._pool.rows(
            ScheduledStart,
            "select substr(k.key, 11)::timestamptz as at, k.workflow_id, w.status, w.created_at, w.started_at,"
            " w.finished_at, w.error"
            " from (select k.key, k.workflow_id from workflow.start_keys k"
            "       where k.name = %(name)s and k.key between '@schedule 0' and '@schedule 9'"
            "         and k.key ~ '^@schedule \\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ$'"
            "       order by k.key desc limit %(limit)s) k"
            " cross join lateral (select w.* from workflow.workflows w where w.id = k.workflow_id offset 0) w"
            " order by k.key desc",
            {"name": name, "limit": limit},
        )

    async def started_for(self, name: str, times: Sequence[datetime]) -> Mapping[datetime, UUID]:
        """Which of these due times have a workflow, and which."""
        found = await self._pool.rows(
            StartedFor,
            f"select t.at, k.workflow_id from unnest(%s::timestamptz[]) t(at)"
            " cross join lateral (select k.workflow_id from workflow.start_keys k"
            f" where k.name = %s and k.key = {_KEY.format('t.at')} offset 0) k",
            [list(times), name],
        )
        return {each.at: each.workflow_id for each in found}

    # Last, since `list` in the annotations above means the built-in one.
    async def list(self, name: str | None = None) -> list[Schedule]:
        """The entries of all schedules by name and position, or those of one definition."""
        return await self._pool.rows(
            Schedule,
            f"{_ENTRIES} where %s::text is null or s.name = %s order by s.name, s.position",
            [name, name],
        )

    async def page(
        self, *, paused: bool = False, failed: bool = False, prefix: str = "", after: str = "", limit: int = 50
    ) -> Sequence[Schedule]:
        """The entries of some schedules, by name and position.

        Args:
            paused: Only those that are paused.
            failed: Only those of which the last due time was refused.
            prefix: Only those whose names begin so.
            after: Only those whose names come after this one.
            limit: At most so many schedules.
        """
        return await self._pool.rows(
            Schedule,
            f"{_ENTRIES} where s.name = any(array("
            " select s.name from workflow.schedules s where s.position = 0 and s.name > %(after)s"
            " and starts_with(s.name, %(prefix)s) and (not %(paused)s or s.paused_at is not null)"
            f" and (not %(failed)s or {_FAILED}) order by s.name limit %(limit)s)) order by s.name, s.position",
            {"paused": paused, "failed": failed, "prefix": prefix, "after": after, "limit": limit},
            walks=True,
        )
