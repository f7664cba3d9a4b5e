"""Schedules: look at them, pause them, and answer their due times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from workflow_engine.errors import ScheduleNotFound
from workflow_engine.records import AnsweredSchedule, BackfilledStart, DueSchedule, Schedule, StartedWorkflow
from workflow_engine.store.pool import Pool


class Schedules:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list(self, name: str | None = None) -> list[Schedule]:
        """The entries of all schedules by name and position, or those of one definition."""
        return await self._pool.rows(
            Schedule,
            "select s.*, coalesce(d.pinned_version, d.latest_version) as version"
            " from workflow.schedules s join workflow.definitions d on d.name = s.name"
            " where %s::text is null or s.name = %s order by s.name, s.position",
            [name, name],
        )

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
