"""`workflow`: another workflow as a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from workflow_engine.definition.input_schema import validate_input
from workflow_engine.errors import InputInvalid, TaskError
from workflow_engine.execution.attempt import Attempt, Resumed, Waits
from workflow_engine.execution.inherited import InheritedError
from workflow_engine.execution.orchestration.base import Definitions, Move, Orchestrated, inputs_of, time_is_up
from workflow_engine.handlers.base import Outcome
from workflow_engine.handlers.inputs import Inputs, invalid
from workflow_engine.states import WorkflowStatus


class WorkflowInputs(Inputs):
    name: str | None = None
    version: int | None = None
    input: Any = None
    wait: bool = True
    on_parent_cancel: Literal["cancel", "abandon"] = "cancel"


async def _begin(attempt: Attempt, definitions: Definitions | None) -> Move:
    wanted = inputs_of(attempt, WorkflowInputs)
    name, version = wanted.name, wanted.version
    if (definition := attempt.step.definition) is not None:
        if definitions is None:
            raise invalid("definitions cannot be stored here; start the child by the name of a registered one")
        name, version = definition.name, await definitions.register(definition)
    if name is None:
        raise invalid("/name: is missing")
    value = {} if wanted.input is None else wanted.input
    if definitions is not None:
        _check_input(name, await definitions.input_schema(name, version), value)
    fields: dict[str, Any] = {
        "name": name,
        "input": value,
        "wait": wanted.wait,
        "on_parent_cancel": wanted.on_parent_cancel,
    }
    if version is not None:
        fields["version"] = version
    if attempt.claim.traceparent is not None:
        fields["traceparent"] = attempt.claim.traceparent
    return Waits("child", fields)


def _check_input(name: str, schema: Mapping[str, Any] | None, value: Any) -> None:
    """Hold the input of a child against its schema, as the API does with that of a start.

    Raises:
        TaskError: It does not fit.
    """
    try:
        validate_input(schema, value)
    except InputInvalid as error:
        message = f"The input of {name} does not fit its schema: {error.detail}"
        places = [{"pointer": fault.pointer, "message": fault.message} for fault in error.faults]
        details = {"kind": "invalid_input", "errors": places}
        raise TaskError("child_workflow", message, retryable=False, details=details) from error


async def _resume(attempt: Attempt, resumed: Resumed) -> Move:
    child = resumed.found.get("workflow") or {}
    if child.get("status") == WorkflowStatus.FAILED:  # also one that could not be started
        raise InheritedError(child["error"])
    if "id" in child and not resumed.awaits.get("wait", True):
        return Outcome({"workflow_id": child["id"]})
    if child.get("status") == WorkflowStatus.SUCCEEDED:
        return Outcome(child.get("output"))
    if child.get("status") == WorkflowStatus.CANCELLED:
        message = f"The child workflow {child['id']} was cancelled"
        raise TaskError("cancelled", message, retryable=False, details={"workflow_id": child["id"]})
    if resumed.due:
        raise time_is_up(resumed, attempt.own_timeout)
    kept = ("name", "version", "input", "wait", "on_parent_cancel", "workflow_id")
    return Waits("child", {name: resumed.awaits[name] for name in kept if name in resumed.awaits})


WORKFLOW = Orchestrated("workflow", _begin, _resume, "Runs another workflow")
