"""Tasks, their attempts, and what is told of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Task:
    """One step inside one workflow."""

    id: int
    workflow_id: UUID
    step: str
    path: str
    type: str
    status: str
    attempt: int
    queue: str
    worker_id: int | None
    timeout_override: float | None  # seconds, by an operator's retry, until the task ends
    pending_since: datetime | None
    scheduled_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    output: Any
    error: dict[str, Any] | None
    child_workflow_id: UUID | None  # the last that it started
    output_from: str | None  # where its result comes from, if not from an attempt of it: `rerun`, `operator`
    trace_id: str  # of its workflow
    span_id: str | None  # of its last attempt

    @property
    def is_unreached(self) -> bool:
        """It failed without running, because a step before it failed."""
        return self.status == "failed" and (self.error or {}).get("type") == "upstream_failed"


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A step with what it waits for; as it stands in a workflow, or, when a definition is looked at, without tasks.

    Attributes:
        position: Among all steps of its version; `dependencies`, `parent_step` and `compensation` are such positions.
        scope_kind: Of the list of steps inside `parent_step` that it stands in; None = in the workflow's own.
        compensation: Of the step that undoes it.
        counts: Its tasks by status, several where it is inside a map or loop.
        unreached: How many of those that failed did so without running, as a step before them failed.
        attempt: The highest of them.
        waits: Locks and limits: `lock:crm limit:api`.
    """

    position: int
    step: str
    type: str
    dependencies: list[int]
    scope: int
    kind: str
    body: bool
    compensation: int | None
    scope_kind: str | None
    parent_step: int | None
    task_id: int | None = None  # of the first of them
    counts: dict[str, int] | None = None
    unreached: int | None = None
    attempt: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    waits: str | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a task that has not ended does not go on, or what it does."""

    workflow_id: UUID
    task_id: int
    step: str
    status: str
    reason: str
    explanation: str
    since: datetime | None
    until: datetime | None
    command: str | None  # that helps
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a task; `outcome` and `ended_at` are None while it runs."""

    task_id: int
    step: str
    path: str
    type: str
    attempt: int
    outcome: str | None
    worker: str | None
    pending_since: datetime | None
    started_at: datetime
    ended_at: datetime | None
    error: dict[str, Any] | None
    queue: str
    traceparent: str | None  # of its workflow


@dataclass(frozen=True, slots=True)
class LogEvent:
    """An event of a workflow with the names of its step and worker."""

    seq: int
    at: datetime
    type: str
    task_id: int | None
    attempt: int | None
    step: str | None
    step_type: str | None
    worker: str | None
    outcome: str | None  # of the attempt, in the end
    seconds: float | None
    data: dict[str, Any] | None
    lines: list[dict[str, Any]] | None  # what the handler logged, with the event that ended its attempt


@dataclass(frozen=True, slots=True)
class SlowAttempt:
    """An attempt that took long, or has been running for long: then its status is `running`."""

    task_id: int
    workflow_id: UUID
    workflow_name: str
    step: str
    type: str
    attempt: int
    status: str
    duration: float
    started_at: datetime
    finished_at: datetime | None
    worker: str | None
    timeout: float | None
    timeout_from: str | None


@dataclass(frozen=True, slots=True)
class EndOfEvents:
    """The number of the newest event, and the transactions that may still bring earlier ones."""

    top: int
    open: frozenset[str]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a workflow is: its status, and the number of its last event."""

    status: str
    seq: int
