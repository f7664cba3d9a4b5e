"""Schedules."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from workflow_engine.api.schemas.shape import Shape
from workflow_engine.states import WorkflowStatus


class ScheduleEntry(Shape):
    """One entry of a schedule."""

    position: int = Field(description="In the definition's list, from 0.")
    cron: str
    timezone: str
    overlap: Literal["skip", "queue", "cancel_running", "allow"]
    catchup: Literal["latest", "all", "none"]
    input: Any
    next_times: list[datetime] = Field(description="When it is due next, up to five times; empty while it is paused.")
    last_at: datetime | None = Field(description="The due time of the last start.")
    last_workflow_id: str | None
    last_error: str | None = Field(description="Why the last due time started nothing.")
    started: int
    skipped: int = Field(description="Due times at which the workflow before had not ended.")
    missed: int = Field(description="Due times that were passed over after an outage.")


class Schedule(Shape):
    """When a definition starts by itself."""

    name: str = Field(description="Of the definition.")
    version: int = Field(description="Which it starts.")
    paused: bool
    since: datetime | None = Field(description="Paused since then.")
    entries: list[ScheduleEntry]
    links: dict[str, str]


class DueTime(Shape):
    """A due time of the past."""

    at: datetime
    position: int = Field(description="Of its entry.")
    workflow_id: str | None = Field(description="The workflow that was started for it; null: none that is still kept.")


class DueTimes(Shape):
    """When a schedule was due, and for which times there is a workflow."""

    total: int
    started: int
    missing: int = Field(description="For which `backfill` would start a workflow.")
    first: datetime | None
    last: datetime | None
    times: list[DueTime]


class Backfilled(Shape):
    """A workflow that was started for a due time of the past."""

    id: str
    status: WorkflowStatus
    scheduled_for: datetime
    existing: bool = Field(description="The schedule, or an earlier backfill, had started it.")
