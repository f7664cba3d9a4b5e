"""`workflow`: another workflow as a step."""

from __future__ import annotations

from typing import Any, Literal

from workflow_engine.errors import TaskError
from workflow_engine.execution.attempt import Attempt, Resumed, Waits
from workflow_engine.execution.inherited import InheritedError
from workflow_engine.execution.orchestration.base import Move, Orchestrated, Register, inputs_of, time_is_up
from workflow_engine.handlers.base import Outcome
from workflow_engine.handlers.inputs import Inputs, invalid
from workflow_engine.states import WorkflowStatus


class WorkflowInputs(Inputs):
    name: str | None = None
    version: int | None = None
    input: Any = None
    wait: bool = True
    on_parent_cancel: Literal["cancel", "abandon"] = "cancel"


async def _begin(attempt: Attempt, register: Register | None) -> Move:
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
