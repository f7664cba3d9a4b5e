"""The shapes of bodies as the OpenAPI document has them. Answers are built by `views`; tests hold the two together."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from workflow_engine.states import AttemptOutcome, OrphanReason, TaskStatus, WorkflowStatus


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProblemError(_Shape):
    """One thing that is wrong with a body."""

    pointer: str = Field(description="Where: a JSON Pointer (RFC 6901) into the body.")
    code: str
    message: str


class Problem(_Shape):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="`urn:workflow-engine:problem:<slug>`; stable.")
    title: str
    status: int
    detail: str
    code: str = Field(description="The slug of the type.")
    instance: str = Field(description="The id of the request, as in the header X-Request-Id and in the logs.")
    hint: str | None = None
    errors: list[ProblemError] | None = Field(None, max_length=50)
    cycle: list[str] | None = Field(None, description="With `cycle-detected`: the steps, the first again at the end.")


class Warning(_Shape):
    """Something in a definition that is allowed but probably not meant."""

    pointer: str
    code: str
    message: str


class Step(BaseModel):
    """One step; its own fields may stand beside the common ones. The definition language has them all."""

    model_config = ConfigDict(extra="allow")

    id: str
    type: str
    depends_on: list[str] | None = None


class StartRequest(BaseModel):
    """A workflow to start: with `steps` their definition is registered first, without them `name` must be known."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(pattern="^[a-z][a-z0-9_-]{0,127}$")
    version: int | None = Field(None, ge=1, description="Without `steps` only; default: the pinned or latest version.")
    steps: list[Step] | None = None
    input: Any = None
    labels: dict[str, str] | None = None
    priority: int | None = Field(None, ge=-1_000_000, le=1_000_000, description="Higher first.")


class CancelRequest(_Shape):
    """Why a workflow is cancelled."""

    reason: str | None = Field(None, max_length=500)


class Started(_Shape):
    """A workflow that was accepted."""

    id: str
    name: str
    version: int
    status: WorkflowStatus
    links: dict[str, str]
    warnings: list[Warning]


class StartedBriefly(_Shape):
    """One of many workflows that were accepted."""

    id: str
    name: str
    version: int
    status: WorkflowStatus


class TaskErrorShape(BaseModel):
    """What failed; the same wherever an error is shown."""

    model_config = ConfigDict(extra="allow", title="TaskError")

    type: str
    message: str
    retryable: bool | None = None
    attempt: int | None = None
    details: dict[str, Any] | None = None


class WorkflowSummary(_Shape):
    """A workflow without its input and output."""

    id: str
    name: str
    version: int
    status: WorkflowStatus
    error: TaskErrorShape | None
    labels: dict[str, str]
    priority: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    paused_at: datetime | None = Field(description="Nothing more of it is claimed since then.")
    links: dict[str, str]


class Workflow(WorkflowSummary):
    """One execution of a definition version."""

    input: Any
    output: Any
    latest_version: int = Field(description="Of its definition.")
    pinned_version: int | None = Field(description="With which it goes on when a retry starts it again.")
    pending_reason: str | None = Field(description="Why it does not go on, in one word; null when it does. See `why`.")


class Pinned(_Shape):
    """A workflow or a definition that was pinned to a version, or is not any more."""

    id: str | None = Field(description="Of the workflow; null for a definition.")
    name: str
    status: WorkflowStatus | None = Field(description="Of the workflow; null for a definition.")
    version: int = Field(description="The one it runs on; of a definition the one that new workflows start on.")
    latest_version: int
    pinned_version: int | None
    links: dict[str, str]


class DefinitionVersion(_Shape):
    """One state of a definition."""

    version: int
    hash: str = Field(description="Of its content; the same content is the same version.")
    created_at: datetime
    active_runs: int = Field(description="Live workflows that run on it.")
    pinned_runs: int = Field(description="Live workflows that are pinned to it.")
    is_default: bool = Field(description="New workflows start on it when they name none.")


class DefinitionVersions(_Shape):
    """A definition with its versions."""

    name: str
    latest_version: int
    pinned_version: int | None
    versions: list[DefinitionVersion]


class Task(_Shape):
    """One step inside one workflow."""

    id: str
    workflow_id: str
    step: str
    path: str
    type: str
    status: TaskStatus
    attempt: int = Field(description="Number of the last attempt; 0 before the first.")
    queue: str
    worker_id: str | None
    timeout_override: float | None = Field(description="Seconds, by an operator's retry, until the task ends.")
    pending_since: datetime | None
    scheduled_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    output: Any
    error: TaskErrorShape | None


class DagNode(_Shape):
    """A step; without a task where a definition is shown."""

    id: str
    type: str
    status: TaskStatus | None
    task_id: str | None
    attempt: int | None
    started_at: datetime | None
    finished_at: datetime | None


class DagEdge(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: str = Field(alias="from")
    to: str


class Dag(_Shape):
    """The graph of a workflow."""

    nodes: list[DagNode]
    edges: list[DagEdge]
    cycles: list[list[str]] = Field(
        description="Workflows that wait for each other's locks, this one among them: each waits for the next."
    )
    critical_path: list[str]
    waiting_on: dict[str, list[str]] = Field(
        description="By step: the steps that have not ended, and `lock:<key>` or `limit:<key>` for what it waits for."
    )


class Reason(_Shape):
    """Why a task that has not ended does not go on, or what it does."""

    workflow_id: str
    task_id: str
    step: str
    status: TaskStatus
    reason: str = Field(description="One word; docs/why.md has all of them.")
    explanation: str = Field(description="The same as a sentence.")
    since: datetime | None
    until: datetime | None = Field(description="When it ends by itself, where that is known.")
    command: str | None = Field(description="What helps, to be typed as it stands; null where nothing is needed.")
    details: dict[str, Any]


class Span(_Shape):
    """One attempt in a trace."""

    step: str
    path: str
    task_id: str
    type: str
    attempt: int
    status: AttemptOutcome | Literal["running"]
    worker: str | None
    queued_at: datetime | None
    started_at: datetime
    finished_at: datetime | None
    wait_s: float | None = Field(description="Seconds from pending to claimed.")
    run_s: float | None = Field(description="Seconds the attempt took; null while it runs.")
    error: TaskErrorShape | None
    trace_id: str = Field(description="The workflow's id as 32 hexadecimal digits.")
    span_id: str
    parent_span_id: str = Field(description="Of the workflow as a whole.")


class Durations(_Shape):
    """Durations in seconds; 0 where there is no sample."""

    avg_duration: float
    p50: float
    p95: float
    p99: float
    max: float


class TypeStats(Durations):
    """How long attempts took and how they ended."""

    count: int = Field(description="Attempts that came to an end of their own: the sample of the durations.")
    succeeded: int
    failed: int
    retried: int = Field(description="Failed, and another attempt followed.")
    timed_out: int = Field(description="Of those that failed or were retried: for exceeding their maximum runtime.")
    running: int
    running_so_far: Durations = Field(description="Of the attempts that run now: the time they have taken so far.")


class TaskStats(TypeStats):
    """The same of all task types and of each."""

    by_type: dict[str, TypeStats]
    window: float = Field(description="How far back was looked, in seconds.")
    sampled: bool = Field(description="There were more attempts than are looked at: only the newest are in the sample.")
    covered: float = Field(description="The newest part of the window, in seconds, that the sample fills.")


TimeoutSource = Literal["retry", "step", "type", "handler", "default"]


class SlowAttempt(_Shape):
    """An attempt that took long, or has been running for long."""

    task_id: str
    workflow_id: str
    workflow_name: str
    step: str
    type: str
    attempt: int
    status: AttemptOutcome | Literal["running"]
    duration: float = Field(description="Seconds; so far, while it runs.")
    started_at: datetime
    finished_at: datetime | None
    worker: str | None
    timeout: float = Field(description="Seconds that the next attempt of this task may take.")
    timeout_from: TimeoutSource
    links: dict[str, str]


class EffectiveTimeout(BaseModel):
    model_config = ConfigDict(extra="forbid")

    value: float = Field(description="Seconds.")
    source: Literal["type", "handler", "default"] = Field(alias="from")


class EffectiveMaxAttempts(BaseModel):
    model_config = ConfigDict(extra="forbid")

    value: int
    source: Literal["type", "handler", "default"] = Field(alias="from")


class Effective(_Shape):
    """What counts for a task whose step says nothing, and who said so."""

    timeout: EffectiveTimeout
    max_attempts: EffectiveMaxAttempts


class TaskType(_Shape):
    """A registered kind of work."""

    name: str
    builtin: bool
    description: str
    timeout: float | None = Field(description="Seconds for one attempt, as operators set it.")
    max_attempts: int | None = Field(description="Tries in all, as operators set it.")
    effective: Effective
    created_at: datetime
    updated_at: datetime
    links: dict[str, str]


class TaskTypePatch(_Shape):
    """What to change; null takes a value back, what is absent stays."""

    timeout: float | str | None = Field(None, description="Seconds or a duration such as `5m`; up to 24 hours.")
    max_attempts: int | None = Field(None, ge=1, le=1000, description="Tries in all, the first included.")
    description: str | None = Field(None, max_length=10_000)


class OtlpTrace(_Shape):
    """A trace as `ExportTraceServiceRequest` in JSON."""

    resourceSpans: list[dict[str, Any]]  # noqa: N815


class ChromeTrace(_Shape):
    """A trace for Perfetto and chrome://tracing."""

    traceEvents: list[dict[str, Any]]  # noqa: N815
    displayTimeUnit: str  # noqa: N815


class LogLine(_Shape):
    """Something that happened to a workflow or one of its tasks, or that a handler logged."""

    time: datetime
    level: Literal["debug", "info", "warning", "error", "critical"]
    message: str
    event: str | None = Field(description="Such as `task.started`; null for what a handler logged.")
    task_id: str | None
    step: str | None
    type: str | None
    attempt: int | None
    worker: str | None
    fields: dict[str, Any] = Field(description="What else there is to say, such as `error_type` and `seconds`.")


class Ended(_Shape):
    """What a request to cancel left."""

    id: str
    status: WorkflowStatus
    links: dict[str, str]


class Reopened(_Shape):
    """What a request to retry did."""

    id: str = Field(description="Of the workflow.")
    tasks: int = Field(description="How many tasks run again or were given a job.")
    links: dict[str, str]


class EngineState(_Shape):
    """Whether the engine is paused."""

    paused: bool
    since: datetime | None
    until: datetime | None = Field(description="When the pause ends by itself; null: when someone resumes it.")
    running: int = Field(description="How many workflows run, as GET /workflows/running lists them.")


class PausedWorkflow(_Shape):
    """A workflow that was paused or resumed."""

    id: str
    status: WorkflowStatus
    paused: bool
    since: datetime | None
    links: dict[str, str]


class LockPlace(_Shape):
    """A task that holds a lock or units of a limit, or waits for them."""

    workflow_id: str
    task_id: str
    step: str
    scope: Literal["task", "workflow"]
    units: int
    since: datetime = Field(description="Held, or pending, since.")


class Lock(_Shape):
    """A lock or limit that somebody holds or waits for."""

    kind: Literal["lock", "limit"]
    key: str
    used: int = Field(description="Units in use.")
    holding: int = Field(description="How many hold it.")
    waiting: int = Field(description="How many wait for it.")
    holders: list[LockPlace] = Field(description="At most 100.")
    waiters: list[LockPlace] = Field(description="In the order in which they are next; at most 100.")


class ReleasedLocks(_Shape):
    """What was taken away from a workflow."""

    id: str
    locks: list[str]
    tasks: int = Field(description="How many running tasks lost their lease with it.")
    links: dict[str, str]


class Worker(_Shape):
    """A registered worker process."""

    id: str
    name: str
    host: str
    pid: int
    version: str
    queues: list[str]
    task_types: list[str]
    status: Literal["active", "draining", "dead"]
    status_reason: Literal["stopping", "memory"] | None = Field(description="Why it is draining and claims nothing.")
    concurrency: int
    busy: int
    current_tasks: list[str]
    last_heartbeat_at: datetime
    age_s: float = Field(description="Seconds since the last heartbeat.")
    started_at: datetime
    rss_bytes: int | None


class DeadWorker(Worker):
    """A worker whose heartbeat stopped without a goodbye."""

    orphaned_tasks: list[str] = Field(description="What it held when it died, also when others have taken it over.")


class OrphanedTask(_Shape):
    """A task that nobody moves any more."""

    id: str
    step: str
    status: TaskStatus
    attempt: int
    worker_id: str | None
    worker: str | None = Field(description="Name of its worker, if that is still known.")
    lease_until: datetime | None
    reason: OrphanReason
    since: datetime


class OrphanedWorkflow(_Shape):
    """A live workflow with tasks that nobody moves any more."""

    id: str
    name: str
    version: int
    status: WorkflowStatus
    reason: OrphanReason
    since: datetime
    tasks: list[OrphanedTask]
    links: dict[str, str]


class RecoverRequest(_Shape):
    """Which workflows to recover."""

    ids: list[str] | None = Field(None, max_length=10_000, description="Only these; default: all that are orphaned.")


class Skipped(_Shape):
    id: str
    why: str


class Recovery(_Shape):
    """What was done about orphaned workflows, or with `dry_run` would be."""

    dry_run: bool
    recovered: list[str] = Field(description="Ids of workflows.")
    cancelled: list[str] = Field(description="Ids of workflows.")
    skipped: list[Skipped]


class FileError(_Shape):
    """One thing that is wrong with a file."""

    pointer: str = Field(description="Where: a JSON Pointer (RFC 6901) into the definition; empty for all of it.")
    code: str
    message: str


class RefusedFile(_Shape):
    """A definition file that was not read."""

    file: str
    errors: list[FileError]


class Reload(_Shape):
    """What reading the definition files brought."""

    reloaded: int = Field(description="Files whose definitions the engine now has.")
    added: list[str] = Field(description="Names that are new.")
    changed: list[str] = Field(description="Names that have a new version.")
    invalid: list[RefusedFile]


class Dependency(BaseModel):
    model_config = ConfigDict(extra="allow")

    status: Literal["ok", "down"]
    error: str | None = None


class HealthReport(_Shape):
    """The state of the engine and of what it depends on."""

    status: Literal["ok", "degraded"]
    version: str
    accepting: bool = Field(description="Whether new workflows can be started: Postgres is there, nobody paused it.")
    paused: bool
    deadlock_detection: Literal["off", "warn", "true"]
    checks: dict[Literal["postgres", "redis", "workers", "agent_mesh", "agent_brain"], Dependency]


class Sign(_Shape):
    """A sign of life."""

    status: Literal["ok"]
