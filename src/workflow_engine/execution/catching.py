"""`catch`: an error becomes an output, or the beginning of other steps.

What goes wrong here is not caught again: it fails the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_engine.definition.expressions import holds
from workflow_engine.definition.retries import matches
from workflow_engine.definition.step_plan import Catch
from workflow_engine.errors import TaskError
from workflow_engine.execution.attempt import Attempt, Resumed, Waits
from workflow_engine.execution.completions import completion, waiting
from workflow_engine.handlers.output import encode_output
from workflow_engine.records import Completion
from workflow_engine.states import AttemptOutcome


def caught(attempt: Attempt, error: dict[str, Any]) -> Completion | None:
    """What the first catch that matches makes of an error; None when none does."""
    for position, catch in enumerate(attempt.step.catch):
        if not matches(error["type"], catch.errors):
            continue
        try:
            if catch.when is not None and not holds(catch.when, {**attempt.names, "error": error}):
                continue
        except TaskError as broken:
            return _failed(attempt, {**error, "details": {**error.get("details", {}), "catch.when": broken.message}})
        if catch.scope is None:
            return _output(attempt, catch, error, {}, None)
        instance = {"position": 0, "variables": {"error": error}}
        waits = Waits("scope", {"scope": catch.scope, "instances": [instance]})
        return waiting(attempt, waits, catching={"catch": position, "error": error})
    return None


def after_steps(attempt: Attempt, resumed: Resumed) -> Completion:
    """What becomes of a task when the steps of its catch have ended."""
    assert resumed.catching is not None
    catch, error = attempt.step.catch[resumed.catching["catch"]], resumed.catching["error"]
    found = resumed.found
    if found["status"] != "succeeded":
        return _failed(attempt, {**found["error"], "details": {**found["error"].get("details", {}), "caught": error}})
    return _output(attempt, catch, error, found.get("steps", {}), found["outputs"][0])


def _output(
    attempt: Attempt, catch: Catch, error: dict[str, Any], steps: Mapping[str, Any], default: Any
) -> Completion:
    try:
        output = default
        if catch.output is not None:
            names = attempt.names
            output = catch.output.render({**names, "steps": {**names["steps"], **steps}, "error": error})
        encoded = encode_output(output, attempt.limits.payload_bytes)
    except TaskError as broken:
        document = broken.as_json(attempt.claim.attempt)
        return _failed(attempt, {**document, "details": {**document["details"], "caught": error}})
    return completion(attempt, AttemptOutcome.SUCCEEDED, output=encoded)


def _failed(attempt: Attempt, error: dict[str, Any]) -> Completion:
    return completion(attempt, AttemptOutcome.FAILED, error=error)
