"""`wait`: until a time, holding nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator, model_validator

from workflow_engine.definition.durations import parse_duration
from workflow_engine.errors import InputInvalid
from workflow_engine.execution.attempt import Attempt, Resumed, Waits
from workflow_engine.execution.orchestration.base import Definitions, Move, Orchestrated, inputs_of
from workflow_engine.handlers.base import Outcome
from workflow_engine.handlers.inputs import Inputs


def _duration(value: object) -> float:
    try:
        return parse_duration(value)
    except InputInvalid as error:
        raise ValueError(error.faults[0].message) from error


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("must be an RFC 3339 time with its zone, such as 2026-01-31T12:00:00Z")
    return moment


class WaitInputs(Inputs):
    duration: Annotated[float, BeforeValidator(_duration)] | None = None
    until: Annotated[datetime, BeforeValidator(_moment)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> WaitInputs:
        if (self.duration is None) == (self.until is None):
            raise ValueError("give either `duration` or `until`")
        return self


async def _begin(attempt: Attempt, definitions: Definitions | None) -> Move:
    wanted = inputs_of(attempt, WaitInputs)
    if wanted.until is not None:
        return Waits("timer", {"at": wanted.until.isoformat()})
    return Waits("timer", {"delay": wanted.duration}) if wanted.duration else Outcome(None)


async def _resume(attempt: Attempt, resumed: Resumed) -> Move:
    if not resumed.due:  # claimed early, for instance because an operator retried the workflow
        return Waits("timer", {"at": resumed.awaits["until"]})
    return Outcome(None)


WAIT = Orchestrated("wait", _begin, _resume, "Waits for a time")
