"""Workflows, and what was done to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class WorkflowStart:
    """A request to start one workflow of a registered definition."""

    name: str
    version: int | None = None  # None: the pinned one, else the latest
    input: Any = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int | None = None
    hash: str | None = None  # of the content that is meant; another one under that version is refused
    awaited: bool = False  # its end is told by a notification
    created_by: str | None = None  # the principal that starts it
    audit: Mapping[str, Any] | None = None  # its row of the audit log, in the same commit
    traceparent: str | None = None  # the span of whoever starts it


@dataclass(frozen=True, slots=True)
class StartedWorkflow:
    id: UUID
    name: str
    version: int
    status: str
    existing: bool = False  # it was there before: the definition's idempotency recognised the start


@dataclass(frozen=True, slots=True)
class WorkflowSummary:
    """A workflow in a list: without its input and output, which may be large."""

    id: UUID
    name: str
    version: int
    status: str
    error: dict[str, Any] | None
    labels: dict[str, str]
    priority: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    paused_at: datetime | None  # held back by an operator since then
    ending: str | None  # the status it is going to have, while handlers still run
    parent_id: UUID | None  # of a child: the workflow that started it
    created_by: str | None  # the principal that started it, or that started what started it
    traceparent: str | None  # the span of whoever started it
    idle: timedelta | None  # for which it lay ended before it was retried
    retried_at: datetime | None  # when it was gone on with last, after it had ended

    @property
    def idle_seconds(self) -> float:
        """For which it lay ended before it was retried: no part of how long it ran."""
        return 0.0 if self.idle is None else self.idle.total_seconds()

    @property
    def ran(self) -> float | None:
        """Seconds from its start to its end, without those for which it lay ended in between; None before either."""
        if self.started_at is None or self.finished_at is None:
            return None
        return max((self.finished_at - self.started_at).total_seconds() - self.idle_seconds, 0.0)


@dataclass(frozen=True, slots=True)
class Workflow(WorkflowSummary):
    """One execution of a definition version."""

    input: Any
    output: Any
    latest_version: int  # of its definition
    pinned_version: int | None  # with which a retry goes on
    pending_reason: str | None  # why it does not go on, in one word
    deadline: datetime | None  # it fails if its steps have not ended by then
    parent_task_id: int | None  # of a child: the task that started it
    root_id: UUID | None  # of a child: the workflow at the top
    budget: dict[str, Any] | None  # what it counts against, and what is used up of it
    rerun_of: UUID | None  # the workflow with whose results it began
    paused_by: str | None  # None: it is not paused, its budget did, or it is not known who
    paused_reason: str | None  # as whoever paused it said


@dataclass(frozen=True, slots=True)
class LiveWorkflow(WorkflowSummary):
    """One that has not ended."""

    pending_reason: str | None  # why it does not go on, in one word; None: it does


@dataclass(frozen=True, slots=True)
class WorkflowFilter:
    """Which workflows are meant; what is not given does not matter."""

    status: Sequence[str] = ()  # any of these
    name: str | None = None  # of the definition; with `*` at its end, those that begin so
    version: int | None = None  # the number of the version of the definition
    labels: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None  # created at or after
    until: datetime | None = None  # created before
    min_seconds: float | None = None  # ran at least so long, from its start to its end or till now
    max_seconds: float | None = None  # ran at most so long
    parent: UUID | None = None  # its children
    ids: Sequence[UUID] | None = None


@dataclass(frozen=True, slots=True)
class Rerun:
    """A workflow that was started again from a step, or would be."""

    id: UUID | None  # of the new workflow; None: nothing was started
    name: str
    version: int
    status: str | None
    replayed: bool  # this repeats the answer to an earlier request
    again: list[dict[str, Any]]  # steps that run again: {"step", "ran": whether the old workflow began it}
    kept: list[dict[str, Any]]  # steps whose results it begins with: {"step", "status"}


@dataclass(frozen=True, slots=True)
class PausedWorkflow:
    """A workflow that was paused or resumed."""

    id: UUID
    status: str
    paused_at: datetime | None  # None: it is not held back
    by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was done about orphaned workflows, or would be."""

    recovered: list[str]
    cancelled: list[str]
    skipped: list[dict[str, str]]  # {"id", "why"}
    tasks: dict[str, int]  # how many made them orphans, by reason


@dataclass(frozen=True, slots=True)
class OrphanedTask:
    """A task that makes its workflow an orphan."""

    workflow_id: UUID
    name: str
    version: int
    workflow_status: str
    task_id: int
    step: str
    status: str
    attempt: int
    worker_id: int | None
    worker: str | None
    lease_until: datetime | None
    reason: str
    since: datetime
