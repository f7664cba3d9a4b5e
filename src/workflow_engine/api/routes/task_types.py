"""Task types: what there is, and what operators set for them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.bodies import read_optional_json
from workflow_engine.api.entering import principal_of
from workflow_engine.api.operations import Answer, Body, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.definition.faults import Faults
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.limits import MAX_ATTEMPTS, MAX_TIMEOUT
from workflow_engine.definition.retries import DEFAULT_RETRY_POLICY
from workflow_engine.definition.scope import json_type
from workflow_engine.errors import Fault, InputInvalid, PreconditionFailed
from workflow_engine.observability.logs import get_logger
from workflow_engine.records import TaskType, TaskTypeChange
from workflow_engine.records.engine import time_of_tag

_ETAG = re.compile(r'"([0-9a-f]{1,16})"')
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The `ETag` of the state to change; when it has changed since, nothing is done.",
    "example": '"64a3b1c2d4e5f"',
}
_MOST_TOLD = 3  # changes, of those that came in between
_log = get_logger("api")

router = routes_under(f"{API}/task-types")
TypeName = Annotated[str, Path(description="The name of a task type.")]


@router.get(
    "",
    **operation(
        "task_types_list",
        summary="List task types",
        tag="task-types",
        scope=Scope.ENGINE_READ,
        answers={200: Answer("All of them, by name.", list[schemas.TaskType], [examples.TASK_TYPE])},
    ),
)
async def list_types(request: Request) -> Response:
    """The built-in ones, and those that workers have registered."""
    read_parameters(request, [parameters.PRETTY])
    return json_answer(request, [_shown(request, known) for known in await services(request).store.task_types.list()])


@router.get(
    "/{task_type}",
    **operation(
        "task_types_get",
        summary="One task type",
        tag="task-types",
        scope=Scope.ENGINE_READ,
        answers={200: Answer("The task type.", schemas.TaskType, examples.TASK_TYPE, ("ETag",))},
        problems=(404,),
    ),
)
async def get(request: Request, task_type: TypeName) -> Response:
    """With what counts for its tasks, and who said so."""
    read_parameters(request, [parameters.PRETTY])
    return _answer(request, await _get(request, task_type))


@router.get(
    "/{task_type}/changes",
    **operation(
        "task_types_list_changes",
        summary="Who changed what of a task type",
        tag="task-types",
        scope=Scope.ENGINE_READ,
        answers={200: Answer("The last 100.", list[schemas.TaskTypeChange], [examples.TASK_TYPE_CHANGE])},
        problems=(404,),
    ),
)
async def list_changes(request: Request, task_type: TypeName) -> Response:
    """What operators changed, latest first. What handlers ask for changes with the workers that bring them."""
    read_parameters(request, [parameters.PRETTY])
    await _get(request, task_type)
    changes = await services(request).store.task_types.changes(task_type)
    return json_answer(request, [views.task_type_change(change) for change in changes])


@router.patch(
    "/{task_type}",
    **operation(
        "task_types_update",
        summary="Change the timeout or the number of tries of a task type",
        tag="task-types",
        scope=Scope.ENGINE_CONTROL,
        headers=[_IF_MATCH],
        body=Body(schemas.TaskTypePatch, {"a longer timeout": examples.TASK_TYPE_PATCH}, required=False),
        answers={200: Answer("As it is now.", schemas.TaskType, examples.TASK_TYPE, ("ETag",))},
        problems=(404, 412),
    ),
)
async def update(request: Request, task_type: TypeName) -> Response:
    """The next attempt uses it, also of tasks that are pending already. A step's own `timeout` and `retries` win."""
    read_parameters(request, [parameters.PRETTY])
    patch = await _read_patch(request)
    types = services(request).store.task_types
    known = await _get(request, task_type)
    by = principal_of(request).name or None
    try:
        changed = await types.update(task_type, patch, expected=_expected(request, known), by=by)
    except PreconditionFailed:
        raise await _changed_meanwhile(request, task_type) from None
    if changed:
        _log.info(
            "task type changed",
            task_type=task_type,
            request_id=request.scope.get("request_id"),
            **{f"{field}_{when}": value for field, values in changed.items() for when, value in values.items()},
        )
    return _answer(request, await types.get(task_type))


async def _get(request: Request, name: str) -> TaskType:
    return await services(request).store.task_types.get(name)


async def _read_patch(request: Request) -> dict[str, Any]:
    body = await read_optional_json(request, limit=services(request).settings.max_payload_bytes)
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise InputInvalid([Fault("", "validation-error", f"must be an object, not {json_type(body)}")])
    fields = Fields(body, "", Faults())
    fields.refuse_unknown(("timeout", "max_attempts", "description"))
    values = {
        "timeout": fields.duration("timeout", most=MAX_TIMEOUT),
        "max_attempts": fields.integer("max_attempts", 1, MAX_ATTEMPTS),
        "description": fields.text("description"),
    }
    if "description" in body and body["description"] is None:
        values["description"] = ""
    if fields.faults:
        raise InputInvalid(fields.faults.found)
    return {name: value for name, value in values.items() if name in body}


def _expected(request: Request, known: TaskType) -> datetime | None:
    """The state that `If-Match` asks for; None when any will do.

    Raises:
        PreconditionFailed: None of its tags is the present one.
    """
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    if known.tag in _ETAG.findall(given):
        return known.updated_at
    raise PreconditionFailed


async def _changed_meanwhile(request: Request, name: str) -> PreconditionFailed:
    """Who did what since the newest of the states that `If-Match` names."""
    types = services(request).store.task_types
    now = await types.get(name)
    given = _ETAG.findall(request.headers.get("if-match", ""))
    read = max((moment for tag in given if (moment := time_of_tag(tag)) and moment < now.updated_at), default=None)
    changes = [] if read is None else await types.changes(name, since=read)
    told = "; ".join(in_words(change) for change in reversed(changes[:_MOST_TOLD]))
    return PreconditionFailed(
        f"The task type {name} has been changed meanwhile: {told}."
        if told
        else f"The task type {name} is not in the state that If-Match names.",
        hint=f'It is now "{now.tag}"; read it again before you change it.',
    )


def in_words(change: TaskTypeChange) -> str:
    """What somebody changed, in a line: `ann set timeout to 300 s (before: 60 s)`."""
    done = [f"{field} to {_value(field, values['after'])} (before: {_value(field, values['before'])})"
            for field, values in change.changes.items()]  # fmt: skip
    return f"{change.by or 'somebody'} set {', '.join(done)}"


def _value(field: str, value: Any) -> str:
    if value in (None, ""):
        return "nothing"
    return f"{value:g} s" if field == "timeout" else str(value)


def _answer(request: Request, known: TaskType) -> Response:
    return json_answer(request, _shown(request, known), headers={"ETag": f'"{known.tag}"'})


def _shown(request: Request, known: TaskType) -> dict[str, Any]:
    default = services(request).settings.task_timeout
    return views.task_type(known, default, DEFAULT_RETRY_POLICY.max_attempts)
