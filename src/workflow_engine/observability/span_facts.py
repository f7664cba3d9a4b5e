"""What spans say of workflows and attempts: those that are sent, and those of `GET .../trace`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_engine.observability import span_names as names

OK_OUTCOMES = frozenset({"succeeded"})
ERROR_OUTCOMES = frozenset({"failed", "retried", "lost"})


def of_workflow(workflow_id: str, name: str, version: int) -> dict[str, Any]:
    """Of everything that belongs to a workflow."""
    return {names.WORKFLOW_ID: workflow_id, names.WORKFLOW_NAME: name, names.WORKFLOW_VERSION: version}


def of_attempt(
    *, task_id: int, attempt: int, step: str, path: str, type: str, queue: str, worker: str | None
) -> dict[str, Any]:
    """Of an attempt, from its beginning on."""
    return {
        names.STEP_ID: step,
        names.STEP_PATH: None if path == step else path,
        names.TASK_ID: str(task_id),
        names.TASK_TYPE: type,
        names.ATTEMPT: attempt,
        names.WORKER: worker,
        names.MESSAGING_SYSTEM: names.OUR_SYSTEM,
        names.MESSAGING_DESTINATION: queue,
        names.MESSAGING_OPERATION: names.PROCESS,
        names.MESSAGING_OPERATION_TYPE: names.PROCESS,
    }


def of_end(outcome: str, error: Mapping[str, Any] | None) -> dict[str, Any]:
    """Of an attempt that ended."""
    return {names.OUTCOME: outcome, names.ERROR_TYPE: error and error.get("type")}


def of_error(error: Mapping[str, Any]) -> dict[str, Any]:
    """Of the event that tells of an error, which was stored and holds no secret."""
    return {names.EXCEPTION_TYPE: error.get("type"), names.EXCEPTION_MESSAGE: error.get("message")}


def said(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not known."""
    return {name: value for name, value in values.items() if value is not None}
