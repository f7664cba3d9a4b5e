"""Tasks of one workflow: as they stand, as a graph, as a trace, as a log, and why they do not go on."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from workflow_engine.api.schemas.problems import TaskErrorShape
from workflow_engine.api.schemas.shape import Shape
from workflow_engine.states import AttemptOutcome, TaskStatus


class Task(Shape):
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
    output_from: Literal["rerun", "operator"] | None = Field(
        description="Who gave its result, when no attempt of it did: a rerun kept it, or somebody skipped the task."
    )
    error: TaskErrorShape | None
    child_workflow_id: str | None = Field(description="The child workflow that it started last.")
    trace_id: str = Field(description="Of its workflow.")
    span_id: str | None = Field(description="Of its last attempt; null before the first.")


class SkipRequest(Shape):
    """With which output a task succeeds instead of running."""

    output: Any = None
    reason: str | None = Field(None, max_length=500)


class DagNode(Shape):
    """A step with all its tasks; without any where a definition is shown."""

    id: str = Field(description="Inside a step: `process.fetch`, of which `process[3].fetch` is a task.")
    type: str
    status: TaskStatus | None = Field(description="Of several tasks what tells most, such as `running`.")
    upstream_failed: bool = Field(description="It failed without running, because a step before it failed: look there.")
    task_id: str | None = Field(description="Of the first one.")
    attempt: int | None
    started_at: datetime | None
    finished_at: datetime | None
    kind: str = Field(description="`step`, or what it is for in the end, such as `compensation`.")
    parent: str | None = Field(description="The node of the step that it stands in.")
    repeats: str | None = Field(description="The type that a `for_each` or `loop` repeats.")
    counts: dict[str, int] | None = Field(
        description="By status: of a `for_each` or `loop` its items or iterations, of a step inside one its tasks."
    )


class DagEdge(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: str = Field(alias="from")
    to: str


class Dag(Shape):
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


class Reason(Shape):
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


class Span(Shape):
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
    trace_id: str = Field(description="Of the workflow.")
    span_id: str
    parent_span_id: str = Field(description="Of the workflow as a whole.")


class OtlpTrace(Shape):
    """A trace as `ExportTraceServiceRequest` in JSON."""

    resourceSpans: list[dict[str, Any]]  # noqa: N815


class ChromeTrace(Shape):
    """A trace for Perfetto and chrome://tracing."""

    traceEvents: list[dict[str, Any]]  # noqa: N815
    displayTimeUnit: str  # noqa: N815


class LogLine(Shape):
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
