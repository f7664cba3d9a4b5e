"""Schedules: when definitions start by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Schedule:
    """One entry of the schedule of a definition."""

    name: str
    position: int
    cron: str
    timezone: str
    overlap: str
    catchup: str
    input: Any
    since: datetime  # due times after this one count
    next_at: datetime | None  # None: the leader has not worked it out yet
    paused_at: datetime | None
    last_at: datetime | None  # the due time of the last start
    last_workflow_id: UUID | None
    last_error: str | None
    started: int
    skipped: int
    missed: int
    version: int  # of the definition that starts


@dataclass(frozen=True, slots=True)
class ScheduleCounts:
    """How many schedules there are."""

    total: int
    paused: int
    failed: int  # the last due time was refused


@dataclass(frozen=True, slots=True)
class ScheduledStart:
    """What became of a due time."""

    at: datetime
    workflow_id: UUID
    status: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class StartedFor:
    """A due time and its workflow."""

    at: datetime
    workflow_id: UUID


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """A schedule whose due time has come, or has to be worked out."""

    name: str
    position: int
    cron: str
    timezone: str
    overlap: str
    catchup: str
    since: datetime
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class AnsweredSchedule:
    """What a due time brought."""

    answered: bool  # False: somebody else did, or the schedule has changed
    started: list[UUID]
    skipped: int
    failed: int
    error: str | None


@dataclass(frozen=True, slots=True)
class BackfilledStart:
    """A workflow that was started, or had been, for a due time of the past."""

    id: UUID
    status: str
    scheduled_for: str
    existing: bool
