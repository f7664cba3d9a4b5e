"""Versions of definitions: which run, and pinning a workflow or a definition to one."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.problems import invalid_parameter
from workflow_engine.api.routes.workflow_id import is_placeholder, no_such_workflow
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.definition.input_schema import validate_input
from workflow_engine.observability.logs import get_logger
from workflow_engine.store.pool import as_uuid

_PINNED = {200: Answer("As it is now.", schemas.Pinned, examples.PINNED)}

router = routes_under(f"{API}/workflows")
_log = get_logger("api")

Pinnable = Annotated[str, Path(description="The id of a workflow, or the name of a definition.")]


@router.get(
    "/versions",
    **operation(
        "workflows_list_versions",
        summary="The versions of all definitions, and how many live workflows are on each",
        tag="workflows",
        scope=Scope.DEFINITIONS_READ,
        answers={200: Answer("All of them, by name.", list[schemas.DefinitionVersions], [examples.VERSIONS])},
    ),
)
async def list_versions(request: Request) -> Response:
    """`active_runs` are the live workflows that run on a version, `pinned_runs` those that are pinned to it."""
    read_parameters(request, [parameters.PRETTY])
    return json_answer(request, views.versions(await services(request).store.definitions.versions()))


@router.post(
    "/{workflow_id}/pin",
    **operation(
        "workflows_pin",
        summary="Pin a workflow, or all new workflows of a definition, to a version",
        tag="workflows",
        scope=Scope.WORKFLOWS_CONTROL,
        parameters=[parameters.VERSION],
        answers=_PINNED,
        problems=(404, 409),
    ),
)
async def pin(request: Request, workflow_id: Pinnable) -> Response:
    """A pending workflow goes on with the version at once; one that has begun uses it when a retry starts it again, and
    keeps what succeeded. Of a definition, it is what new workflows start on when they name no version."""
    version = read_parameters(request, [parameters.VERSION, parameters.PRETTY])["version"]
    if version is None:
        raise invalid_parameter("version", "is needed: the number of the version, such as ?version=2")
    if (workflow := as_uuid(workflow_id)) is None:
        return await _pin_definition(request, workflow_id, version)
    store = services(request).store
    found = await store.workflows.get(str(workflow))
    target = await store.definitions.resolve(found.name, version)
    schema = (await store.definitions.document(target.id)).get("input_schema")
    validate_input(schema if isinstance(schema, dict) else None, found.input, "/input")
    await store.control.pin(str(workflow), version)
    return await _pinned_workflow(request, workflow)


@router.delete(
    "/{workflow_id}/pin",
    **operation(
        "workflows_unpin",
        summary="Unpin a workflow, or a definition",
        tag="workflows",
        scope=Scope.WORKFLOWS_CONTROL,
        answers=_PINNED,
        problems=(404, 409),
    ),
)
async def unpin(request: Request, workflow_id: Pinnable) -> Response:
    """A pending workflow goes back to the version it was started with; one that has begun goes on with what it has. New
    workflows of a definition start on the latest version again."""
    read_parameters(request, [parameters.PRETTY])
    if (workflow := as_uuid(workflow_id)) is None:
        return await _pin_definition(request, workflow_id, None)
    await services(request).store.control.unpin(str(workflow))
    return await _pinned_workflow(request, workflow)


async def _pin_definition(request: Request, name: str, version: int | None) -> Response:
    if is_placeholder(name) or "\0" in name:
        raise await no_such_workflow(request, name)
    pinned = await services(request).store.definitions.pin(name, version)
    _log.info("definition pinned" if version else "definition unpinned", definition=name, version=version)
    return json_answer(request, views.pinned_definition(pinned))


async def _pinned_workflow(request: Request, workflow: UUID) -> Response:
    request.scope["workflow_id"] = str(workflow)  # for the log line of this request
    shown: dict[str, Any] = views.pinned_workflow(await services(request).store.workflows.get(str(workflow)))
    return json_answer(request, shown)
