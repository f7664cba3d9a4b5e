"""`emit`: a signal or a webhook, sent if and only if the step succeeds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from workflow_engine.execution.attempt import Attempt
from workflow_engine.execution.orchestration.base import Definitions, Move, Orchestrated, inputs_of, never_resumed
from workflow_engine.handlers.base import Outcome
from workflow_engine.handlers.inputs import Inputs
from workflow_engine.handlers.output import encode_output


class EmitInputs(Inputs):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    payload: Any = None
    to: Literal["signal", "webhook"] = "signal"
    workflow_id: str | None = None
    url: str | None = None

    @model_validator(mode="after")
    def _target(self) -> EmitInputs:
        if (self.to == "webhook") != (self.url is not None):
            raise ValueError("a webhook, and nothing else, needs a `url`")
        if self.to == "webhook" and self.workflow_id is not None:
            raise ValueError("`workflow_id` is for signals")
        return self


async def _begin(attempt: Attempt, definitions: Definitions | None) -> Move:
    wanted = inputs_of(attempt, EmitInputs)
    fields = wanted.model_dump(exclude_none=True)
    encode_output(fields, attempt.limits.payload_bytes)
    return Outcome(None, effects={"emit": fields})


EMIT = Orchestrated("emit", _begin, never_resumed, "Sends a signal or a webhook")
