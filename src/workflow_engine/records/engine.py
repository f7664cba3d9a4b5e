"""The engine as a whole: its state, its workers, its task types, its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class EngineState:
    """Whether the engine is paused, and how many workflows run."""

    paused: bool
    since: datetime | None
    until: datetime | None  # None: until someone resumes it
    running: int
    by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must hold of the data and does not: a row of `workflow.invariant_violations`."""

    invariant: str
    instant: bool  # it holds in every snapshot; else somebody is to see to it within a minute, and does not
    workflow_id: str | None
    task_id: int | None
    found: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Worker:
    """A registered worker process."""

    id: int
    name: str
    host: str
    pid: int
    version: str
    queues: list[str]
    task_types: list[str]
    concurrency: int
    status: str
    rss_bytes: int | None
    started_at: datetime
    last_heartbeat_at: datetime
    stopped_at: datetime | None
    age_seconds: float
    current_tasks: list[int]
    lost_tasks: list[int]  # taken back from it after its last heartbeat
    status_reason: str | None  # why it is draining
    drained_at: datetime | None  # since when an operator lets it claim nothing
    drained_by: str | None


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """What a worker held when it was last heard of, and what became of it."""

    worker_id: int
    task_id: int
    attempt: int  # the one it had
    taken_back_at: datetime | None  # None: it still holds it
    workflow_id: UUID
    workflow_name: str | None  # None: the workflow is gone
    workflow_status: str | None
    path: str | None  # None: the task is gone
    type: str | None
    status: str | None  # now, as all that follows
    now_attempt: int | None
    worker: str | None
    error: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class QueueGauges:
    """One queue: tasks by what they wait for, and the slots of the workers that serve it."""

    queue: str
    pending: int
    scheduled: int
    held: int  # by a pause, a lock or a limit
    running: int
    oldest_pending_seconds: float
    slots: int

    @property
    def load(self) -> int:
        """Slots that its tasks use or could use now."""
        return self.pending + self.running


@dataclass(frozen=True, slots=True)
class EnginePause:
    """A pause of the engine."""

    since: datetime
    until: datetime | None  # None: until someone resumes it
    by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Gauges:
    """Where the engine stands: the same on every replica."""

    queues: list[QueueGauges]
    active_workflows: int
    pending_workflow_seconds: float  # age of the oldest workflow of which nothing was claimed yet; 0 if there is none
    workers: dict[str, int]  # by state
    locks_held: int
    paused: bool
    approvals_open: int
    outbox_pending: int
    outbox_dead: int
    outbox_pending_seconds: float  # age of the oldest that is pending; 0 if there is none
    oldest_transaction_seconds: float  # of those that keep Postgres from cleaning up; 0 if there is none
    slots: int  # of all active workers
    pause: EnginePause | None = None  # None: it is not paused


@dataclass(frozen=True, slots=True)
class WorkflowGauges:
    """Where the live workflows stand; dearer to read than `Gauges`, and read less often."""

    workflows: dict[str, int]  # by status, of those that have not ended
    paused: int
    orphaned: int
    definitions: int
    versions: dict[str, int]  # by definition: of how many a workflow has not ended
    slots_used: dict[str, int]  # by queue: of the active workers that serve it


@dataclass(frozen=True, slots=True)
class EventCounts:
    """What happened since it was counted last. A definition is None when it was deleted meanwhile."""

    started: list[tuple[str | None, int]]
    ended: list[
        tuple[str | None, str, int, int, float]
    ]  # definition, status, position of the bucket, how many, seconds
    retries: dict[str, int]  # by kind
    more: bool  # to count, now
    behind: bool  # or soon


@dataclass(frozen=True, slots=True)
class Load:
    """How it was for a stretch of time."""

    at: datetime
    pending: int
    running: int
    active_workflows: int
    ended_per_minute: float | None  # attempts; None: not known
    queues: dict[str, int]  # pending tasks


@dataclass(frozen=True, slots=True)
class QueueMoment:
    """How a queue was for a stretch of time."""

    at: datetime
    pending: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A task that is ready in a queue, or runs."""

    task_id: int
    workflow_id: UUID
    workflow_name: str
    step: str
    type: str
    priority: int
    attempt: int
    since: datetime | None  # pending, or running
    worker: str | None


@dataclass(frozen=True, slots=True)
class TaskType:
    """A registered kind of work: what operators set, and what its handler asks for otherwise."""

    name: str
    builtin: bool
    description: str
    timeout: float | None  # seconds
    max_attempts: int | None
    handler_timeout: float | None
    handler_max_attempts: int | None
    created_at: datetime
    updated_at: datetime

    @property
    def tag(self) -> str:
        """Names this state of it: the time of the last change, in microseconds."""
        passed = self.updated_at - _EPOCH
        return f"{(passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds:x}"


def time_of_tag(tag: str) -> datetime | None:
    """When the state was made that `TaskType.tag` names; None: no state can have it."""
    try:
        return _EPOCH + timedelta(microseconds=int(tag, 16))
    except OverflowError:
        return None


@dataclass(frozen=True, slots=True)
class TaskTypeChange:
    """What an operator changed of a task type."""

    at: datetime
    by: str | None  # None: it is not known
    changes: dict[str, dict[str, Any]]  # {field: {"before": value, "after": value}}


@dataclass(frozen=True, slots=True)
class TypedStep:
    """A step of a task type, in the latest version of its definition; None: it says nothing of its own."""

    definition: str
    version: int
    step: str
    queue: str | None
    timeout: float | None
    max_attempts: int | None
    limits: list[dict[str, Any]]  # key, capacity and rate of each


@dataclass(frozen=True, slots=True)
class TaskFailures:
    """What goes wrong with the tasks of a type: one type of error."""

    error: str | None
    count: int
    last_at: datetime
    task_id: int  # the last of them
    workflow_id: UUID
    message: str | None


@dataclass(frozen=True, slots=True)
class PendingQueue:
    """The pending tasks of a queue that are not held."""

    queue: str
    task_ids: str  # separated by commas, in the order of claims
    pending: int
