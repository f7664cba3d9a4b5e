"""The engine as a whole: its state, its workers, its locks, its health."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from workflow_engine.api.schemas.shape import Shape
from workflow_engine.states import TaskStatus


class EngineState(Shape):
    """Whether the engine is paused."""

    paused: bool
    since: datetime | None
    until: datetime | None = Field(description="When the pause ends by itself; null: when someone resumes it.")
    by: str | None = Field(description="Who paused it; null: it is not known who.")
    reason: str | None = Field(description="Why, as whoever paused it said.")
    running: int = Field(description="How many workflows run, as GET /workflows/running lists them.")


class LockPlace(Shape):
    """A task that holds a lock or units of a limit, or waits for them."""

    workflow_id: str
    task_id: str
    step: str
    scope: Literal["task", "workflow"]
    units: int
    since: datetime = Field(description="Held, or pending, since.")


class Lock(Shape):
    """A lock or limit that somebody holds or waits for."""

    kind: Literal["lock", "limit"]
    key: str
    used: int = Field(description="Units in use.")
    holding: int = Field(description="How many hold it.")
    waiting: int = Field(description="How many wait for it.")
    capacity: int | None = Field(
        description="Of a limit: units in all, as the steps say that name it; null: any number, or a lock."
    )
    holders: list[LockPlace] = Field(description="At most 100.")
    waiters: list[LockPlace] = Field(description="In the order in which they are next; at most 100.")


class ReleasedLocks(Shape):
    """What was taken away from a workflow."""

    id: str
    locks: list[str]
    tasks: int = Field(description="How many running tasks lost their lease with it.")
    links: dict[str, str]


class Worker(Shape):
    """A registered worker process."""

    id: str
    name: str
    host: str
    pid: int
    version: str
    queues: list[str]
    task_types: list[str]
    status: Literal["active", "draining", "dead"]
    status_reason: Literal["stopping", "memory", "operator"] | None = Field(
        description="Why it is draining and claims nothing."
    )
    drained_at: datetime | None = Field(description="An operator lets it claim nothing since then.")
    drained_by: str | None = Field(description="Who; null: it is not known.")
    concurrency: int
    busy: int
    current_tasks: list[str]
    last_heartbeat_at: datetime
    age_s: float = Field(description="Seconds since the last heartbeat.")
    started_at: datetime
    rss_bytes: int | None


class Alert(Shape):
    """An alert whose condition holds."""

    name: str = Field(description="As in the rules for Prometheus.")
    subject: str | None = Field(description="Which queue, worker or schedule; null: the whole installation.")
    severity: Literal["critical", "warning", "info"]
    state: Literal["firing", "pending"] = Field(description="`pending`: it has not held for long enough.")
    summary: str
    value: float | None = Field(description="What was found when it was looked at last.")
    threshold: float | None = Field(description="What that is held against.")
    since: datetime = Field(description="Since when its condition holds.")
    fires_at: datetime
    links: dict[str, str]


class LeftTask(Shape):
    """A task that a worker held when it died."""

    task_id: str
    path: str | None = Field(description="Null when the task is gone, with its workflow or by another version.")
    type: str | None
    workflow_id: str
    workflow_name: str | None
    attempt: int = Field(description="The one that it had.")
    taken_back_at: datetime | None = Field(description="Null as long as it is not: its lease has not ended.")
    status: TaskStatus | None = Field(description="What became of the task by now.")


class DeadWorker(Worker):
    """A worker whose heartbeat stopped without a goodbye."""

    orphaned_tasks: list[str] = Field(description="What it held when it died, also when others have taken it over.")
    tasks: list[LeftTask] = Field(description="The same, with what became of it.")


class QueueLoad(Shape):
    """What a queue asks for."""

    load: int = Field(description="Slots that are asked for: what is pending and what runs.")
    pending: int
    running: int
    slots: int = Field(description="Of the active workers that serve the queue; one may serve several.")


class Load(Shape):
    """What all queues ask for, or one of them."""

    load: int = Field(description="Slots that are asked for: what is pending and what runs.")
    pending: int
    running: int
    slots: int = Field(description="Of all active workers.")
    by_queue: dict[str, QueueLoad]


class Dependency(BaseModel):
    model_config = ConfigDict(extra="allow")

    status: Literal["ok", "down"]
    error: str | None = None


class HealthReport(Shape):
    """The state of the engine and of what it depends on."""

    status: Literal["ok", "degraded"]
    version: str
    accepting: bool = Field(description="Whether new workflows can be started: Postgres is there, nobody paused it.")
    paused: bool
    auth: Literal["none", "token"] = Field(description="`none`: whoever reaches the port may do everything.")
    deadlock_detection: Literal["off", "warn", "true"]
    checks: dict[Literal["postgres", "redis", "workers", "agent_mesh", "agent_brain"], Dependency]


class BareHealth(Shape):
    """The same for who is not known, where keys are needed."""

    status: Literal["ok", "degraded"]


class Sign(Shape):
    """A sign of life."""

    status: Literal["ok"]
