"""What went wrong, and what is probably not meant."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from workflow_engine.api.schemas.shape import Shape


class ProblemError(Shape):
    """One thing that is wrong with a body."""

    pointer: str = Field(description="Where: a JSON Pointer (RFC 6901) into the body.")
    code: str
    message: str


class Problem(Shape):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="`urn:workflow-engine:problem:<slug>`; stable.")
    title: str
    status: int
    detail: str
    code: str = Field(description="The slug of the type.")
    instance: str = Field(description="The id of the request, as in the header X-Request-Id and in the logs.")
    help: str = Field(description="Where this engine explains problems of the type.")
    hint: str | None = None
    errors: list[ProblemError] | None = Field(None, max_length=50)
    cycle: list[str] | None = Field(None, description="With `cycle-detected`: the steps, the first again at the end.")
    workflow_id: str | None = Field(None, description="With `already-started`, `concurrency-limit`: the other one.")


class ProblemType(Shape):
    """A type of problem, explained."""

    code: str
    type: str = Field(description="The `type` of its answers; stable.")
    status: int
    meaning: str
    remedy: str = Field(description="What the caller can do about it.")


class Warning(Shape):
    """Something in a definition that is allowed but probably not meant."""

    pointer: str
    code: str
    message: str


class TaskErrorShape(BaseModel):
    """What failed; the same wherever an error is shown."""

    model_config = ConfigDict(extra="allow", title="TaskError")

    type: str
    message: str
    retryable: bool | None = None
    attempt: int | None = None
    details: dict[str, Any] | None = None
