"""Workflows: starting them, what they are, and what was done to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from workflow_engine.api.schemas.problems import TaskErrorShape, Warning
from workflow_engine.api.schemas.shape import Shape
from workflow_engine.states import OrphanReason, TaskStatus, WorkflowStatus


class Step(BaseModel):
    """One step; its own fields may stand beside the common ones. The definition language has them all."""

    model_config = ConfigDict(extra="allow")

    id: str
    type: str
    depends_on: list[str | dict[str, Any]] | None = None


class StartRequest(BaseModel):
    """A workflow to start: with `steps` their definition is registered first, without them `name` must be known."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(pattern="^[a-z][a-z0-9_-]{0,127}$")
    version: int | None = Field(None, ge=1, description="Without `steps` only; default: the pinned or latest version.")
    steps: list[Step] | None = None
    input: Any = None
    labels: dict[str, str] | None = None
    priority: int | None = Field(None, ge=-1_000_000, le=1_000_000, description="Higher first.")


class ReasonRequest(Shape):
    """Why something is done."""

    reason: str | None = Field(None, max_length=500)


class Started(Shape):
    """A workflow that was accepted."""

    id: str
    name: str
    version: int
    status: WorkflowStatus
    existing: bool = Field(description="It was there before: the definition's `idempotency` recognised this start.")
    links: dict[str, str]
    warnings: list[Warning]


class StartedBriefly(Shape):
    """One of many workflows that were accepted."""

    id: str
    name: str
    version: int
    status: WorkflowStatus
    existing: bool = Field(description="It was there before: the definition's `idempotency` recognised this start.")


class WorkflowSummary(Shape):
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
    retried_at: datetime | None = Field(description="When a retry had it go on last, after it had ended.")
    idle_s: float = Field(
        description="Seconds for which it lay ended before it was retried: no part of how long it ran."
    )
    paused_at: datetime | None = Field(description="Nothing more of it is claimed since then.")
    ending: WorkflowStatus | None = Field(description="The status it is going to have, while its ending lasts.")
    parent_id: str | None = Field(description="Of a child: the workflow that started it.")
    created_by: str | None = Field(description="The principal that started it, or that started what started it.")
    trace_id: str = Field(description="Of the trace that it was started in, else its id as 32 hexadecimal digits.")
    links: dict[str, str]


class BoundUsage(Shape):
    """What is used up of a bound."""

    used: float
    soft: float | None
    hard: float | None


class BudgetUsage(Shape):
    """What a workflow and those it starts may use up."""

    workflow_id: str = Field(description="Whose budget it is: its own, or that of a workflow above it.")
    tokens: BoundUsage
    cost_usd: BoundUsage
    steps: BoundUsage = Field(description="Attempts that ended.")
    on_exceeded: Literal["pause", "fail", "cancel"]
    exceeded: list[str] = Field(description="The hard bounds that are reached.")
    exceeded_at: datetime | None


class Bounds(BaseModel):
    """A soft bound warns, a hard one stops."""

    soft: float | None = None
    hard: float | None = None


class BudgetRequest(BaseModel):
    """Other bounds for a workflow; those that are named are replaced."""

    tokens: Bounds | None = None
    cost_usd: Bounds | None = None
    steps: Bounds | None = None
    on_exceeded: Literal["pause", "fail", "cancel"] | None = None


class Workflow(WorkflowSummary):
    """One execution of a definition version."""

    input: Any
    output: Any
    paused_by: str | None = Field(description="Who paused it; null: it is not known who, or its budget did.")
    paused_reason: str | None = Field(description="Why, as whoever paused it said.")
    latest_version: int = Field(description="Of its definition.")
    pinned_version: int | None = Field(description="With which it goes on when a retry starts it again.")
    pending_reason: str | None = Field(description="Why it does not go on, in one word; null when it does. See `why`.")
    deadline: datetime | None = Field(description="It fails if its steps have not ended by then.")
    parent_task_id: str | None = Field(description="Of a child: the task that started it.")
    root_id: str | None = Field(description="Of a child: the workflow at the top.")
    rerun_of: str | None = Field(description="The workflow with whose results it began.")
    budget: BudgetUsage | None = Field(description="What it counts against, and what is used up of it.")


class Pinned(Shape):
    """A workflow or a definition that was pinned to a version, or is not any more."""

    id: str | None = Field(description="Of the workflow; null for a definition.")
    name: str
    status: WorkflowStatus | None = Field(description="Of the workflow; null for a definition.")
    version: int = Field(description="The one it runs on; of a definition the one that new workflows start on.")
    latest_version: int
    pinned_version: int | None
    links: dict[str, str]


class Ended(Shape):
    """What a request to cancel left."""

    id: str
    status: WorkflowStatus
    ending: WorkflowStatus | None = Field(description="The status it is going to have, while its ending lasts.")
    links: dict[str, str]


class Reopened(Shape):
    """What a request to retry did."""

    id: str = Field(description="Of the workflow.")
    tasks: int = Field(description="How many tasks run again or were given a job.")
    links: dict[str, str]


class RerunRequest(BaseModel):
    """From where a workflow runs again, and with what."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: str | None = Field(None, alias="from", description="Id of a step; without it everything runs again.")
    input: Any = Field(None, description="Of the new workflow; without it that of the old one.")
    version: int | None = Field(None, ge=1, description="Of the definition; without it that of the old workflow.")


class RerunStep(Shape):
    """A step that runs again."""

    step: str
    ran: bool = Field(description="The old workflow began it.")


class KeptStep(Shape):
    """A step whose result the new workflow begins with."""

    step: str
    status: TaskStatus


class RepeatedEffect(Shape):
    """What a step that ran before does once more outside its workflow."""

    step: str = Field(description="The workflow's own step.")
    inside: str = Field(description="The step inside it that does it, or itself.")
    type: str
    effect: str


class Rerun(Shape):
    """A workflow that runs again from a step, or with `dry_run` would."""

    id: str | None = Field(description="Of the new workflow; null with `dry_run`.")
    rerun_of: str
    name: str
    version: int
    status: WorkflowStatus | None
    again: list[RerunStep]
    kept: list[KeptStep]
    effects: list[RepeatedEffect]
    warnings: list[str]
    links: dict[str, str]


class PausedWorkflow(Shape):
    """A workflow that was paused or resumed."""

    id: str
    status: WorkflowStatus
    paused: bool
    since: datetime | None
    by: str | None = Field(description="Who paused it; null: it is not known who, or its budget did.")
    reason: str | None = Field(description="Why, as whoever paused it said.")
    links: dict[str, str]


class OrphanedTask(Shape):
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


class OrphanedWorkflow(Shape):
    """A live workflow with tasks that nobody moves any more."""

    id: str
    name: str
    version: int
    status: WorkflowStatus
    reason: OrphanReason
    since: datetime
    tasks: list[OrphanedTask]
    links: dict[str, str]


class RecoverRequest(Shape):
    """Which workflows to recover."""

    ids: list[str] | None = Field(None, max_length=10_000, description="Only these; default: all that are orphaned.")


class BulkRetryRequest(Shape):
    """Which workflows are meant, beside the filters of the query."""

    ids: list[str] | None = Field(None, max_length=1000, description="Only these.")


class BulkCancelRequest(BulkRetryRequest):
    """Which workflows to cancel, and why."""

    reason: str | None = Field(None, max_length=500)


class BulkResult(Shape):
    """What became of one of many workflows."""

    id: str
    name: str | None = Field(description="Of its definition; null when there is no such workflow.")
    status: WorkflowStatus | None = Field(description="Before.")
    outcome: Literal["done", "unchanged", "refused"] = Field(description="With `dry_run` what it would be.")
    tasks: int | None = Field(None, description="Of a retry: how many tasks run again or were given a job.")
    code: str | None = Field(None, description="Of what was refused: the code of the problem.")
    why: str | None = Field(None, description="Of what was refused: the reason.")


class Bulk(Shape):
    """What was done to many workflows, or with `dry_run` would be: newest first, each by itself."""

    dry_run: bool
    done: int
    unchanged: int
    refused: int
    results: list[BulkResult]
    next: str | None = Field(description="POST here to go on with older ones; null when these were the last.")


class Skipped(Shape):
    id: str
    why: str


class Recovery(Shape):
    """What was done about orphaned workflows, or with `dry_run` would be."""

    dry_run: bool
    recovered: list[str] = Field(description="Ids of workflows.")
    cancelled: list[str] = Field(description="Ids of workflows.")
    skipped: list[Skipped]
