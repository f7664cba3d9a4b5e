"""One task: look at it, run it again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, rerun_examples, schemas, views
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.bodies import read_fields
from workflow_engine.api.operations import Answer, Body, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.reasons import reason_among
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.definition.faults import clipped
from workflow_engine.errors import InputInvalid, TaskNotFound
from workflow_engine.observability.logs import get_logger
from workflow_engine.records import Task
from workflow_engine.store.pool import as_uuid

_PLACEHOLDERS = frozenset({"task_id", "id"})
_LARGEST_ID = 2**63 - 1
TaskId = Annotated[str, Path(description="The id of a task.")]

router = routes_under(f"{API}/tasks")
_log = get_logger("api")


async def _task(request: Request, task_id: str) -> Task:
    """The task of this id.

    Raises:
        TaskNotFound: There is none; told so that it helps.
    """
    if not (task_id.isascii() and task_id.isdecimal()) or int(task_id[:20]) > _LARGEST_ID:
        raise await _no_such_task(request, task_id)
    found = await services(request).store.tasks.get(int(task_id))
    request.scope["workflow_id"] = str(found.workflow_id)  # for the log line of this request
    return found


@router.get(
    "/{task_id}",
    **operation(
        "tasks_get",
        summary="One task with its output and error",
        tag="tasks",
        scope=Scope.WORKFLOWS_READ,
        answers={200: Answer("The task.", schemas.Task, examples.TASK)},
        problems=(404,),
    ),
)
async def get(request: Request, task_id: TaskId) -> Response:
    """Its attempts are in the trace of its workflow."""
    task = await _task(request, task_id)
    read_parameters(request, [parameters.PRETTY])
    return json_answer(request, views.task(task))


@router.post(
    "/{task_id}/retry",
    **operation(
        "tasks_retry",
        summary="Retry a task, with another timeout if given",
        tag="tasks",
        scope=Scope.WORKFLOWS_CONTROL,
        parameters=[parameters.TIMEOUT, parameters.FORCE],
        answers={202: Answer("Reopened.", schemas.Reopened, examples.REOPENED, ("Location",))},
        problems=(404, 409),
    ),
)
async def retry(request: Request, task_id: TaskId) -> Response:
    """What could not run because of it, or was cancelled with the workflow, runs again too; other failures stay. A
    pending or scheduled task runs as soon as it can. `Location` is its workflow."""
    task = await _task(request, task_id)
    values = read_parameters(request, [parameters.TIMEOUT, parameters.FORCE, parameters.PRETTY])
    count = await services(request).store.tasks.retry(task.id, timeout=values["timeout"], force=values["force"])
    reopened = {"id": str(task.workflow_id), "tasks": count, "links": views.links(task.workflow_id)}
    return json_answer(request, reopened, 202, {"Location": views.path_of(task.workflow_id)})


@router.post(
    "/{task_id}/skip",
    **operation(
        "tasks_skip",
        summary="Skip a task: let it succeed with a given output",
        tag="tasks",
        scope=Scope.WORKFLOWS_CONTROL,
        body=Body(schemas.SkipRequest, {"with an output": rerun_examples.SKIP}, required=False),
        answers={200: Answer("The task as it is now.", schemas.Task, rerun_examples.SKIPPED)},
        problems=(404, 409),
    ),
)
async def skip(request: Request, task_id: TaskId) -> Response:
    """One that waits, for whatever, or that failed. What could not run because of it, or was cancelled with the
    workflow, runs again; a failed workflow goes on. `output_from` of the task is then `operator`."""
    task = await _task(request, task_id)
    read_parameters(request, [parameters.PRETTY])
    fields = await read_fields(request, ("output", "reason"), limit=services(request).settings.max_payload_bytes)
    reason = reason_among(request, fields)
    output = fields.get("output")
    if task.type == "switch" and not _is_choice(output):
        message = 'of a switch it is the cases to take: {"cases": ["<id of a case, or default>"]}'
        fields.fault("output", "validation-error", message)
    if fields.faults:
        raise InputInvalid(fields.faults.found)
    await services(request).store.reruns.skip(task.id, output, reason=reason)
    _log.info("task skipped", workflow_id=str(task.workflow_id), task_id=str(task.id), step=task.step, reason=reason)
    return json_answer(request, views.task(await services(request).store.tasks.get(task.id)))


def _is_choice(output: Any) -> bool:
    cases = output.get("cases") if isinstance(output, dict) else None
    return isinstance(cases, list) and all(isinstance(case, str) for case in cases)


async def _no_such_task(request: Request, given: str) -> TaskNotFound:
    """The runbook's placeholder (curl strips its braces), or the id of a workflow, are the usual mistakes."""
    shown = clipped(given)
    if given.strip("{}") in _PLACEHOLDERS:
        recent = ", ".join(map(str, await services(request).store.tasks.failed_lately())) or "none yet"
        return TaskNotFound(
            f"{shown} looks like the placeholder; put a real id here; recent tasks that failed: {recent}."
        )
    if as_uuid(given):
        return TaskNotFound(
            f"{shown} is the id of a workflow, not of a task.", hint=f"{views.path_of(given)}/tasks lists its tasks."
        )
    return TaskNotFound(
        f"There is no task {shown}.", hint="GET /api/v1/workflows/{id}/tasks lists the tasks of a workflow."
    )
