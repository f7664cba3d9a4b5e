"""Task types, and how long their attempts take."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from workflow_engine.api.schemas.shape import Shape
from workflow_engine.states import AttemptOutcome


class Durations(Shape):
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
    lost: int = Field(
        description="Lost with the worker that ran them, or when it no longer renewed their lease; not in `count`."
    )
    running: int
    running_so_far: Durations = Field(description="Of the attempts that run now: the time they have taken so far.")


class TaskStats(TypeStats):
    """The same of all task types and of each."""

    by_type: dict[str, TypeStats]
    window: float = Field(description="How far back was looked, in seconds.")
    sampled: bool = Field(description="There were more attempts than are looked at: half of the sample are the newest.")
    covered: float = Field(description="The newest part of the window, in seconds, of which the sample has all.")


TimeoutSource = Literal["retry", "step", "type", "handler", "default"]


class SlowAttempt(Shape):
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


class Effective(Shape):
    """What counts for a task whose step says nothing, and who said so."""

    timeout: EffectiveTimeout
    max_attempts: EffectiveMaxAttempts


class TaskType(Shape):
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


class ValueChange(Shape):
    """What a value was, and what it became; null: nothing was set."""

    before: float | str | None
    after: float | str | None


class TaskTypeChange(Shape):
    """What an operator changed of a task type."""

    at: datetime
    by: str | None = Field(description="Who did it; null: it is not known.")
    changes: dict[Literal["timeout", "max_attempts", "description"], ValueChange]


class TaskTypePatch(Shape):
    """What to change; null takes a value back, what is absent stays."""

    timeout: float | str | None = Field(None, description="Seconds or a duration such as `5m`; up to 24 hours.")
    max_attempts: int | None = Field(None, ge=1, le=1000, description="Tries in all, the first included.")
    description: str | None = Field(None, max_length=10_000)
