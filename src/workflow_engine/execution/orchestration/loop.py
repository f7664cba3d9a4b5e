"""`loop`: a step again and again, until a condition holds."""

from __future__ import annotations

from typing import Any

from workflow_engine.definition.expressions import holds
from workflow_engine.errors import TaskError
from workflow_engine.execution.attempt import Attempt, Resumed, Waits
from workflow_engine.execution.orchestration.base import Definitions, Move, Orchestrated, scope_of
from workflow_engine.handlers.base import Outcome

LOOP_LIMIT = "loop_limit"
"""The error of a loop that did not come to an end."""


async def _begin(attempt: Attempt, definitions: Definitions | None) -> Move:
    return _iteration(attempt, 1, None, 0.0)


async def _resume(attempt: Attempt, resumed: Resumed) -> Move:
    loop = attempt.step.loop
    assert loop is not None
    found = scope_of(attempt, resumed)
    iteration, result = found["position"], found["outputs"][-1]
    names = {**attempt.names, "result": result, "iteration": iteration, "last": resumed.state}
    if holds(loop.until, names):
        return Outcome(result)
    if iteration >= loop.max_iterations:
        raise TaskError(
            LOOP_LIMIT,
            f"The loop has not come to its end in {loop.max_iterations} iterations: `{loop.until}` is still false",
            retryable=False,
            details={"max_iterations": loop.max_iterations},
        )
    return _iteration(attempt, iteration + 1, result, loop.delay)


def _iteration(attempt: Attempt, number: int, last: Any, delay: float) -> Waits:
    loop = attempt.step.loop
    assert loop is not None
    instance = {"position": number, "variables": {"iteration": number, "last": last}}
    fields: dict[str, Any] = {"scope": loop.scope, "instances": [instance]}
    if delay:
        fields["delay"] = delay
    # Kept only for a condition that compares two iterations.
    kept = last if "last" in loop.until else None
    return Waits("scope", fields, state=kept)


LOOP = Orchestrated("loop", _begin, _resume, "Repeats a step until a condition holds: for steps with `loop`")
