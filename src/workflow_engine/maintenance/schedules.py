"""Starts what schedules are due to start.

When a schedule is due is worked out here, what follows is decided in one transaction that expects the due time which
was read. So each due time is answered once, also by two leaders; and one that nobody could answer, as after an outage
or in a paused engine, is still there when somebody can, and is then for the schedule's `catchup` to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from workflow_engine.definition.cron import last_due, next_due
from workflow_engine.errors import EnginePaused
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.records import DueSchedule
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

_MISSED_AFTER = timedelta(minutes=1)  # a due time that is not older is answered whatever `catchup` says
_MOST_AT_ONCE = 100  # of the due times that `catchup: all` makes up for, the latest


@dataclass(frozen=True, slots=True)
class Due:
    """What a schedule asks for now."""

    times: list[datetime]
    next_at: datetime | None
    missed: int


def what_is_due(schedule: DueSchedule, now: datetime) -> Due:
    """For which due times workflows start now, when the next one is due, and how many are passed over."""
    first = schedule.next_at or next_due(schedule.cron, schedule.timezone, schedule.since)
    if first is None or first > now:
        return Due([], first, 0)
    times = last_due(schedule.cron, schedule.timezone, first, now, _MOST_AT_ONCE)
    late = [time for time in times if time < now - _MISSED_AFTER]
    chosen = times
    if schedule.catchup == "none":
        chosen = times[len(late) :]
    elif schedule.catchup == "latest" and late:
        chosen = times[-1:]
    return Due(chosen, next_due(schedule.cron, schedule.timezone, now), len(times) - len(chosen))


class Schedules:
    name = "schedules"
    asked = True
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = settings.poll_seconds
        self._schedules = store.schedules
        self._log = get_logger("schedules")

    async def sweep_once(self) -> dict[str, int]:
        done = dict.fromkeys(("started", "skipped", "failed", "missed"), 0)
        now, schedules = await self._schedules.due()
        for schedule in schedules:
            due = what_is_due(schedule, now)
            try:
                answer = await self._schedules.answer(schedule, due.times, due.next_at, due.missed)
            except EnginePaused:
                break
            if not answer.answered:
                continue
            counts = {
                "started": len(answer.started),
                "skipped": answer.skipped,
                "failed": answer.failed,
                "missed": due.missed,
            }
            for result, count in counts.items():
                done[result] += count
                metrics.scheduled_starts.labels(result).inc(count)
            if answer.error:
                self._log.warning("scheduled start refused", name=schedule.name, error=answer.error)
        return done
