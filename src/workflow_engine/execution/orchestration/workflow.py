"""`workflow`: another workflow as a step."""

from __future__ import annotations

from typing import Any, Literal

from workflow_engine.errors import TaskError
from workflow_engine.execution.attempt import Attempt, Resumed, Waits
from workflow_engine.execution.inherited import InheritedError
from workflow_engine.execution.orchestration.base import Orchestrated, Register, Step, inputs_of, time_is_up
from workflow_engine.handlers.base import Outcome
from workflow_engine.handlers.inputs import Inputs, invalid
from workflow_engine.states import WorkflowStatus


class WorkflowInputs(Inputs):
    name: str | None = None
    version: int | None = None
    input: Any = None
    wait: bool = True
    on_parent_cancel: Literal["cancel", "abandon"] = "cancel"


async def _begin(attempt: Attempt, register: Register | None) -> Step:
    wanted = inputs_of(attempt, WorkflowInputs)
    name, version = wanted.name, wanted.version
    if (definition := attempt.step.definition) is not None:
        if register is None:
            raise invalid("definitions cannot be stored here; start the child by the name of a registered one")
        name, version = definition.name, await register(definition)
    if name is None:
        raise invalid("/name: is missing")
    fields = {
        "name": name,
        "input": {} if wanted.input is None else wanted.input,
        "wait": wanted.wait,
        "on_parent_cancel": wanted.on_parent_cancel,
    }
    return Waits("child", fields if version is None else {**fields, "version": version})


async def _resume(attempt: Attempt, resumed: Resumed) -> Step:
    if (error := resumed.found.get("error")) is not None:  # it could not be started
        raise InheritedError(error)
    child = resumed.found.get("workflow")
    if child is not None and not resumed.awaits.get("wait", True):
        return Outcome({"workflow_id": child["id"]})
    if child is None or not WorkflowStatus(child["status"]).terminal:
        raise time_is_up(resumed, attempt.own_timeout)
    if child["status"] == WorkflowStatus.SUCCEEDED:
        return Outcome(child.get("output"))
    if child["status"] == WorkflowStatus.FAILED and child.get("error"):
        raise InheritedError(child["error"])
    message = f"The child workflow {child['id']} was {child['status']}"
    raise TaskError(child["status"], message, retryable=False, details={"workflow_id": child["id"]})


WORKFLOW = Orchestrated("workflow", _begin, _resume, "Runs another workflow")
