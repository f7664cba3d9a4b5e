"""`terminate`: ends the workflow."""

from __future__ import annotations

from typing import Any, Literal

from workflow_engine.execution.attempt import Attempt
from workflow_engine.execution.orchestration.base import Definitions, Move, Orchestrated, inputs_of, never_resumed
from workflow_engine.handlers.base import Outcome
from workflow_engine.handlers.inputs import Inputs


class TerminateInputs(Inputs):
    status: Literal["succeeded", "failed", "cancelled"] = "succeeded"
    reason: str | None = None
    output: Any = None


async def _begin(attempt: Attempt, definitions: Definitions | None) -> Move:
    wanted = inputs_of(attempt, TerminateInputs)
    return Outcome(wanted.output, effects={"terminate": wanted.model_dump(exclude_none=True)})


TERMINATE = Orchestrated("terminate", _begin, never_resumed, "Ends the workflow")
