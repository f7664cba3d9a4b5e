"""Trials of definitions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from workflow_engine.api.schemas.definitions import DefinitionDocument
from workflow_engine.api.schemas.problems import TaskErrorShape, Warning
from workflow_engine.api.schemas.shape import Shape
from workflow_engine.states import TaskStatus, WorkflowStatus


class TrialSignal(BaseModel):
    """A signal that is sent during a trial."""

    model_config = ConfigDict(extra="forbid")

    name: str
    payload: Any = None
    at: str | float = Field(default=0, description="How long after the start.")


class TrialApproval(BaseModel):
    """The answer to an approval: given when it is asked, but not before `at`."""

    model_config = ConfigDict(extra="forbid")

    step: str = Field(description="The path of its task, or the id of its step.")
    outcome: str
    data: Any = None
    by: str | None = None
    at: str | float = Field(default=0, description="How long after the start.")


class TrialRequest(BaseModel):
    """A definition, or the name of one, and what is given in place of the world around it."""

    model_config = ConfigDict(extra="forbid")

    definition: DefinitionDocument | None = None
    name: str | None = Field(default=None, description="Of a registered definition.")
    version: int | None = Field(default=None, ge=1)
    input: Any = None
    outputs: dict[str, Any] = Field(
        default={}, description="By path or id: an output, `{output, takes}`, `{error, takes}`, or a list of these."
    )
    signals: list[TrialSignal] = []
    approvals: list[TrialApproval] = []
    definitions: list[DefinitionDocument] = Field(
        default=[], description="Definitions of child workflows, in place of those that are registered."
    )
    now: datetime | None = Field(default=None, description="When it starts.")


class TrialTask(Shape):
    """A task at the end of a trial."""

    path: str = Field(description="Of a child workflow, it begins with the path of its parent: `ship/pack`.")
    step: str
    type: str
    status: TaskStatus
    attempt: int
    output: Any
    error: TaskErrorShape | None
    started_at: datetime | None
    finished_at: datetime | None


class TrialEvent(Shape):
    """Something that happened in a trial."""

    at: datetime
    type: str
    path: str | None = Field(description="Of a task; null for the workflow.")
    attempt: int | None
    data: dict[str, Any] | None


class TrialUnused(Shape):
    """What was given and nobody asked for."""

    outputs: list[str]
    signals: list[str]
    approvals: list[str]


class Trial(Shape):
    """What came of a trial. All times are virtual."""

    status: WorkflowStatus
    output: Any
    error: TaskErrorShape | None
    stopped: Literal["waiting", "steps", "time"] | None = Field(
        description="Why it did not end: it waits for what was not given, or it took too many attempts or too long."
    )
    waits_for: list[dict[str, Any]]
    tasks: list[TrialTask]
    events: list[TrialEvent]
    emitted: list[dict[str, Any]]
    started_at: datetime
    duration: float = Field(description="Seconds.")
    unused: TrialUnused
    warnings: list[Warning]
