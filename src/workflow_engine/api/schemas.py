"""The shapes of bodies as the OpenAPI document has them. Answers are built by `views`; tests hold the two together."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from workflow_engine.states import AttemptOutcome, TaskStatus, WorkflowStatus


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
    links: dict[str, str]


class Workflow(WorkflowSummary):
    """One execution of a definition version."""

    input: Any
    output: Any


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
    pending_since: datetime | None
    scheduled_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    output: Any
    error: TaskErrorShape | None


class DagNode(_Shape):
    id: str
    type: str
    status: TaskStatus
    task_id: str
    attempt: int
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
    cycles: list[list[str]]
    critical_path: list[str]
    waiting_on: dict[str, list[str]]


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


class Ended(_Shape):
    """What a request to cancel left."""

    id: str
    status: WorkflowStatus
    links: dict[str, str]


class Reopened(_Shape):
    """What a request to retry did."""

    id: str
    tasks: int = Field(description="How many tasks run again or were given a job.")
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
    concurrency: int
    busy: int
    current_tasks: list[str]
    last_heartbeat_at: datetime
    age_s: float = Field(description="Seconds since the last heartbeat.")
    started_at: datetime
    rss_bytes: int | None


class DeadWorker(Worker):
    """A worker whose heartbeat stopped without a goodbye."""

    orphaned_tasks: list[str]


class Dependency(BaseModel):
    model_config = ConfigDict(extra="allow")

    status: Literal["ok", "down"]
    error: str | None = None


class HealthReport(_Shape):
    """The state of the engine and of what it depends on."""

    status: Literal["ok", "degraded"]
    version: str
    accepting: bool
    deadlock_detection: Literal["off", "warn", "true"]
    checks: dict[Literal["postgres", "redis", "workers", "agent_mesh", "agent_brain"], Dependency]


class Sign(_Shape):
    """A sign of life."""

    status: Literal["ok"]
