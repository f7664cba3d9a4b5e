"""`signal`: until an event of that name has come, sent before or after the wait began."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from workflow_engine.definition.expressions import holds
from workflow_engine.errors import TaskError
from workflow_engine.execution.attempt import Attempt, Resumed, Waits
from workflow_engine.execution.orchestration.base import Definitions, Move, Orchestrated, inputs_of
from workflow_engine.execution.orchestration.deadlines import require_own_deadline
from workflow_engine.handlers.base import Outcome
from workflow_engine.handlers.inputs import Inputs, Seconds

MOST_EVENTS = 1_000
"""Of one step."""


class SignalInputs(Inputs):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    count: Annotated[int, Field(ge=1, le=MOST_EVENTS)] = 1
    timeout: Seconds | None = None
    on_timeout: Literal["fail", "continue"] = "fail"


async def _begin(attempt: Attempt, definitions: Definitions | None) -> Move:
    wanted = inputs_of(attempt, SignalInputs)
    return _wait(attempt, wanted, 0)


async def _resume(attempt: Attempt, resumed: Resumed) -> Move:
    wanted = inputs_of(attempt, SignalInputs)
    events = resumed.found.get("events") or []
    meant = [event for event in events if event.get("taken") or _meant(attempt, event)][: wanted.count]
    new = [event for event in events if not event.get("taken")]
    after = max([int(resumed.awaits.get("after") or 0), *(int(event["seq"]) for event in new)])
    if meant:
        attempt.effects["taken"] = [event["seq"] for event in meant]
    if len(meant) == wanted.count:
        return Outcome(_shown(meant[0]) if wanted.count == 1 else [_shown(event) for event in meant])
    if resumed.due and not new:  # while there were new ones, there may be more
        attempt.effects.update({"expired": True, "after": after})
        require_own_deadline(attempt, resumed, wanted.timeout, wanted.on_timeout)
        return Outcome(None if wanted.count == 1 else [_shown(event) for event in meant])
    return _wait(attempt, wanted, after)


def _wait(attempt: Attempt, wanted: SignalInputs, after: int) -> Waits:
    fields: dict[str, Any] = {"name": wanted.name, "count": wanted.count}
    if attempt.step.match is not None:
        fields["matches"] = True
    if after:
        fields["after"] = after
    return Waits("signal", fields, wanted.timeout)


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
    return {name: event.get(name) for name in ("seq", "name", "payload", "at", "by")}


SIGNAL = Orchestrated("signal", _begin, _resume, "Waits for a signal")
