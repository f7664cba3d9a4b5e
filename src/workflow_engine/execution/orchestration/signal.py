"""`signal`: until an event of that name has come, sent before or after the wait began."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from workflow_engine.definition.expressions import holds
from workflow_engine.errors import TaskError
from workflow_engine.execution.attempt import Attempt, Resumed, Waits
from workflow_engine.execution.orchestration.base import Orchestrated, Register, Step, inputs_of
from workflow_engine.execution.orchestration.deadlines import require_own_deadline
from workflow_engine.handlers.base import Outcome
from workflow_engine.handlers.inputs import Inputs, Seconds
from workflow_engine.handlers.output import encode_output

MOST_EVENTS = 1_000
"""Of one step."""


class SignalInputs(Inputs):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    count: Annotated[int, Field(ge=1, le=MOST_EVENTS)] = 1
    timeout: Seconds | None = None
    on_timeout: Literal["fail", "continue"] = "fail"


async def _begin(attempt: Attempt, register: Register | None) -> Step:
    wanted = inputs_of(attempt, SignalInputs)
    return Waits("signal", {"name": wanted.name, "count": wanted.count}, wanted.timeout)


async def _resume(attempt: Attempt, resumed: Resumed) -> Step:
    wanted = inputs_of(attempt, SignalInputs)
    events = resumed.found.get("events") or []
    taken = [*(resumed.state or ()), *(_shown(event) for event in events if _meant(attempt, event))]
    if len(taken) >= wanted.count:
        return Outcome(taken[0] if wanted.count == 1 else taken[: wanted.count])
    if resumed.due:
        require_own_deadline(attempt, resumed, wanted.timeout, wanted.on_timeout)
        return Outcome(None if wanted.count == 1 else taken)
    encode_output(taken, attempt.limits.payload_bytes)  # what cannot be an output is not gathered either
    after = max([int(resumed.awaits.get("after") or 0), *(int(event["seq"]) for event in events)])
    fields = {"name": wanted.name, "count": wanted.count - len(taken), "after": after}
    return Waits("signal", fields, wanted.timeout, state=taken or None)


def _meant(attempt: Attempt, event: Mapping[str, Any]) -> bool:
    """Whether the step waits for this event. One for which `match` cannot be evaluated is none: whoever sends signals
    must not be able to fail a workflow with a payload that lacks a field."""
    if attempt.step.match is None:
        return True
    try:
        return holds(attempt.step.match, {**attempt.names, "event": _shown(event)})
    except TaskError:
        return False


def _shown(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: event.get(name) for name in ("name", "payload", "at", "by")}


SIGNAL = Orchestrated("signal", _begin, _resume, "Waits for a signal")
