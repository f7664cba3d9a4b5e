"""`approval`: until somebody has decided."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from workflow_engine.execution.attempt import Attempt, Resumed, Waits
from workflow_engine.execution.orchestration.base import Definitions, Move, Orchestrated, inputs_of
from workflow_engine.execution.orchestration.deadlines import require_own_deadline
from workflow_engine.handlers.base import Outcome
from workflow_engine.handlers.inputs import Inputs, Seconds

DEFAULT_OUTCOMES = ("approved", "rejected")
TIMED_OUT = "timeout"
"""The outcome of an approval that nobody gave, where its step goes on."""


class ApprovalInputs(Inputs):
    prompt: str = ""
    form_schema: dict[str, Any] | None = None
    assignees: list[str] = Field(default_factory=list)
    outcomes: Annotated[list[str], Field(min_length=1)] = Field(default_factory=lambda: list(DEFAULT_OUTCOMES))
    timeout: Seconds | None = None
    on_timeout: Literal["fail", "continue"] = "fail"


async def _begin(attempt: Attempt, definitions: Definitions | None) -> Move:
    return _wait(inputs_of(attempt, ApprovalInputs))


async def _resume(attempt: Attempt, resumed: Resumed) -> Move:
    wanted = inputs_of(attempt, ApprovalInputs)
    if answer := resumed.found.get("answer"):
        return Outcome({name: answer.get(name) for name in ("outcome", "data", "by", "at")})
    if not resumed.due:
        return _wait(wanted)
    attempt.effects["expired"] = True
    require_own_deadline(attempt, resumed, wanted.timeout, wanted.on_timeout)
    return Outcome({"outcome": TIMED_OUT, "data": None, "by": None, "at": resumed.awaits["until"]})


def _wait(wanted: ApprovalInputs) -> Waits:
    fields = wanted.model_dump(include={"prompt", "form_schema", "assignees", "outcomes"})
    return Waits("approval", fields, wanted.timeout)


APPROVAL = Orchestrated("approval", _begin, _resume, "Waits for a decision")
