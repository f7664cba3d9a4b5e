"""Rows of the database as Python reads them: plain, immutable, one class per noun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class EngineState:
    """Whether the engine is paused, and how many workflows run."""

    paused: bool
    since: datetime | None
    until: datetime | None  # None: until someone resumes it
    running: int


@dataclass(frozen=True, slots=True)
class WorkflowStart:
    """A request to start one workflow of a registered definition."""

    name: str
    version: int | None = None  # None: the pinned one, else the latest
    input: Any = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int | None = None
    hash: str | None = None  # of the content that is meant; another one under that version is refused


@dataclass(frozen=True, slots=True)
class StartedWorkflow:
    id: UUID
    name: str
    version: int
    status: str


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


@dataclass(frozen=True, slots=True)
class Workflow(WorkflowSummary):
    """One execution of a definition version."""

    input: Any
    output: Any
    latest_version: int  # of its definition
    pinned_version: int | None  # with which a retry goes on
    pending_reason: str | None  # why it does not go on, in one word


@dataclass(frozen=True, slots=True)
class PausedWorkflow:
    """A workflow that was paused or resumed."""

    id: UUID
    status: str
    paused_at: datetime | None  # None: it is not held back


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a definition with the live workflows that run on it or are pinned to it."""

    name: str
    latest_version: int
    pinned_version: int | None
    version: int
    hash: str
    created_at: datetime
    active_runs: int
    pinned_runs: int
    is_default: bool


@dataclass(frozen=True, slots=True)
class PinnedDefinition:
    """With which version new workflows of a definition start."""

    name: str
    latest_version: int
    pinned_version: int | None


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


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A step with what it waits for; as it stands in a workflow, or, when a definition is looked at, without a task."""

    step: str
    type: str
    dependencies: list[str]
    task_id: int | None = None
    status: str | None = None
    attempt: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    waits: list[str] = field(default_factory=list)  # for locks and limits: `lock:crm`


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


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was done about orphaned workflows, or would be."""

    recovered: list[str]
    cancelled: list[str]
    skipped: list[dict[str, str]]  # {"id", "why"}
    tasks: dict[str, int]  # how many made them orphans, by reason


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
class LockPlace:
    """A task that holds a lock or units of a limit, or waits for them."""

    workflow_id: UUID
    task_id: int
    step: str
    scope: str
    units: int
    since: datetime  # held, or pending since


@dataclass(frozen=True, slots=True)
class LockInUse:
    """A lock or limit that somebody holds or waits for."""

    kind: str
    key: str
    used: int
    holding: int
    waiting: int
    holders: list[LockPlace]  # at most 100
    waiters: list[LockPlace]  # in order, at most 100


@dataclass(frozen=True, slots=True)
class LockWait:
    """A task that waits for a lock which another workflow holds to its end."""

    waiter: UUID
    task_id: int
    key: str
    since: datetime
    holder: UUID


@dataclass(frozen=True, slots=True)
class Deadlock:
    """Workflows each of which waits for a lock of the next, the last for one of the first."""

    workflows: tuple[UUID, ...]
    waits: list[LockWait]  # between them

    @property
    def youngest(self) -> LockWait:
        """The wait that closed the circle."""
        return max(self.waits, key=lambda wait: (wait.since, wait.task_id))

    @property
    def path(self) -> str:
        """Who waits for whom, the first again at the end."""
        return " -> ".join(str(workflow) for workflow in (*self.workflows, self.workflows[0]))


@dataclass(frozen=True, slots=True)
class ReleasedLocks:
    """What an operator took away from a workflow."""

    workflow_id: UUID
    locks: list[str]
    tasks: int  # that lost their lease


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


@dataclass(frozen=True, slots=True)
class Gauges:
    """Where the engine stands: the same on every replica."""

    queues: list[QueueGauges]
    active_workflows: int
    pending_workflow_seconds: float  # age of the oldest workflow of which nothing was claimed yet; 0 if there is none
    workers: dict[str, int]  # by state
    locks_held: int
    paused: bool


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
class Claim:
    """A task as its worker gets it, with the right to run one attempt."""

    task_id: int
    workflow_id: str
    workflow_name: str
    workflow_version: int
    version_id: int
    step_index: int
    attempt: int
    tries: int  # earlier attempts that count against the retry policy
    lease_token: str
    wait_seconds: float  # pending until claimed
    elapsed_seconds: float  # since the first attempt of this round started; bounds `max_elapsed`
    timeout: float | None  # seconds, by the task type or, if `timeout_is_override`, by an operator's retry
    timeout_is_override: bool
    labels: dict[str, str]
    workflow_started_at: str
    input: Any  # None unless the step's expressions use it
    steps: dict[str, Any] | None  # results of the steps it refers to, by step id
    max_attempts: int | None = None  # by the task type, where its step has no retry policy


@dataclass(frozen=True, slots=True)
class Completion:
    """How an attempt ended, as its worker says it: the fields of the SQL type `workflow.completion`, and `logs`."""

    task_id: int
    attempt: int
    lease_token: str
    outcome: str
    output: bytes | None = None  # encoded JSON
    error: dict[str, Any] | None = None
    delay: float | None = None  # seconds until the next attempt
    record: Any = None
    logs: list[dict[str, Any]] | None = None  # what the handler logged
    workflow_id: str | None = None  # for log lines about it


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn brought."""

    stale: list[int]  # positions of refused completions
    claims: list[Claim]
    again: bool  # something claimable was locked by another transaction: ask again soon
    next_due: float | None  # seconds until the next scheduled task of these queues
    registered: bool = True  # False: Postgres does not know the worker; it must register again


@dataclass(frozen=True, slots=True)
class HeldLocks:
    """The locks that a workflow holds."""

    workflow_id: UUID
    holder: str  # the worker that runs the task under the oldest of them, or `workflow`
    acquired_at: datetime
    what: str
    seconds: float | None  # for which it is certain, by the leases; None: as long as the workflow lives


@dataclass(frozen=True, slots=True)
class PendingQueue:
    """The pending tasks of a queue that are not held."""

    queue: str
    task_ids: str  # separated by commas, in the order of claims
    pending: int


@dataclass(frozen=True, slots=True)
class DefinitionVersion:
    """Which version of a definition is meant, by the word of Postgres."""

    id: int
    name: str
    version: int
    hash: str
