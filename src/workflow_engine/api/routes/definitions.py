"""Definitions: register them, look at them, compare their versions, delete them. Starting them is `starts`' matter."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path, Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import definition_examples as examples
from workflow_engine.api import definition_views as views
from workflow_engine.api import parameters, schemas
from workflow_engine.api.answers import API, MEDIA_TYPES, json_answer, next_link, text_answer
from workflow_engine.api.bodies import read_document
from workflow_engine.api.operations import Answer, Body, operation
from workflow_engine.api.parameters import LARGEST_VERSION, read_parameters
from workflow_engine.api.problems import invalid_parameter
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.definition.diff import as_yaml, compare, unified
from workflow_engine.definition.faults import clipped
from workflow_engine.definition.scope import json_type
from workflow_engine.errors import DefinitionInvalid, DefinitionNotFound, Fault, InputInvalid
from workflow_engine.observability.logs import get_logger
from workflow_engine.records import Definition

_MAX_NAME = 128
_PAGE = parameters.page(100, by_name=True)
_VERSION_PAGE = parameters.page(100, of_tasks=True)
_YAML = parameters.form({"yaml": "the document alone"})
_TEXT = parameters.form({"text": "a unified diff of both documents as YAML"})
_BODY = Body(schemas.DefinitionDocument, {"runbook": examples.DOCUMENT}, yaml={"runbook": examples.YAML})
_ONE = {
    200: Answer("The version.", schemas.Definition, examples.DEFINITION, others={MEDIA_TYPES["yaml"]: examples.YAML})
}
# What belongs to one workflow: a copied body of `POST /workflows` is told so.
_OF_A_START = ("input",)
Name = Annotated[str, Path(description="The name of a definition.")]

router = routes_under(f"{API}/definitions")
_log = get_logger("api")


def _check_name(name: str) -> None:
    """Refuse what cannot be a name.

    Raises:
        DefinitionNotFound: It cannot.
    """
    if "\0" in name or len(name) > _MAX_NAME:
        raise DefinitionNotFound(f"Workflow definition not found: {clipped(name)}")


@router.get(
    "",
    **operation(
        "definitions_list",
        summary="List definitions by name, without their documents",
        tag="definitions",
        scope=Scope.DEFINITIONS_READ,
        parameters=_PAGE,
        answers={200: Answer("One page.", list[schemas.DefinitionSummary], [examples.SUMMARY], ("Link",))},
    ),
)
async def list_definitions(request: Request) -> Response:
    """Those that were deleted are among them: `disabled` says so."""
    values = read_parameters(request, [*_PAGE, parameters.PRETTY])
    limit = values["limit"]
    found = await services(request).store.definitions.list(after=values["cursor"] or "", limit=limit + 1)
    headers = next_link(request, found[limit - 1].name) if len(found) > limit else None
    return json_answer(request, [views.summary(definition) for definition in found[:limit]], headers=headers)


@router.post(
    "",
    **operation(
        "definitions_register",
        summary="Register a definition without starting it",
        tag="definitions",
        scope=Scope.DEFINITIONS_WRITE,
        body=_BODY,
        answers={
            201: Answer("A new version.", schemas.RegisteredDefinition, examples.REGISTERED, ("Location",)),
            200: Answer(
                "A version has this content.", schemas.RegisteredDefinition, examples.REGISTERED, ("Location",)
            ),
        },
    ),
)
async def register(request: Request) -> Response:
    """The body is the definition alone, as JSON or YAML. New content becomes the next version; a definition that was
    deleted starts again what is asked of it."""
    read_parameters(request, [parameters.PRETTY])
    compiled = await services(request).starter.compile(await _read_document(request))
    definitions = services(request).store.definitions
    _, is_known = await definitions.known(compiled.name, compiled.hash)
    version = await definitions.register(compiled)
    found = await definitions.get(compiled.name, version)
    if not is_known:
        _log.info("definition registered", definition=compiled.name, version=version)
    headers = {"Location": views.path_of(compiled.name, version)}
    return json_answer(request, views.registered(found, compiled.warnings), 200 if is_known else 201, headers)


@router.post(
    "/validate",
    **operation(
        "definitions_validate",
        summary="Say what is wrong with a definition; nothing is stored",
        tag="definitions",
        scope=Scope.DEFINITIONS_READ,
        body=_BODY,
        answers={200: Answer("Whether it would be accepted.", schemas.Validation, examples.VALIDATION)},
    ),
)
async def validate(request: Request) -> Response:
    """The same checks as for a start, with the task types that workers have registered. 200 either way."""
    read_parameters(request, [parameters.PRETTY])
    body = await read_document(request, limit=services(request).settings.max_payload_bytes)
    name = body.get("name") if isinstance(body, dict) else None
    shown: dict[str, Any] = {
        "valid": False,
        "name": name if isinstance(name, str) else None,
        "hash": None,
        "version": None,
        "faults": [],
        "warnings": [],
    }
    try:
        compiled = await services(request).starter.compile(_definition_in(body))
    except (DefinitionInvalid, InputInvalid) as error:
        return json_answer(request, {**shown, "faults": views.faults(error.faults)})
    version = await services(request).store.definitions.version_of(compiled.name, compiled.hash)
    accepted = {"valid": True, "hash": compiled.hash, "version": version, "warnings": views.faults(compiled.warnings)}
    return json_answer(request, {**shown, **accepted})


@router.get(
    "/{name}",
    **operation(
        "definitions_get",
        summary="A definition: its latest version, or another one",
        tag="definitions",
        scope=Scope.DEFINITIONS_READ,
        parameters=[parameters.WHICH_VERSION, _YAML],
        answers=_ONE,
        problems=(404,),
    ),
)
async def get(request: Request, name: Name) -> Response:
    """What a start by name alone uses is `pinned_version`, else `latest_version`."""
    _check_name(name)
    values = read_parameters(request, [parameters.WHICH_VERSION, _YAML, parameters.PRETTY])
    found = await services(request).store.definitions.get(name, values["version"])
    return _shown(request, found, values["format"])


@router.delete(
    "/{name}",
    **operation(
        "definitions_delete",
        summary="Delete a definition: it starts nothing new",
        tag="definitions",
        scope=Scope.DEFINITIONS_WRITE,
        answers={200: Answer("As it is now.", schemas.DefinitionSummary, examples.DELETED)},
        problems=(404,),
    ),
)
async def delete(request: Request, name: Name) -> Response:
    """Starts by this name are answered with 409. Its workflows go on to their end and its versions can still be read;
    registering it again, with any content, takes the deletion back. Deleting it again changes nothing."""
    _check_name(name)
    read_parameters(request, [parameters.PRETTY])
    definitions = services(request).store.definitions
    if await definitions.disable(name):
        _log.info("definition deleted", definition=name)
    return json_answer(request, views.summary(await definitions.get(name)))


@router.get(
    "/{name}/versions",
    **operation(
        "definitions_list_versions",
        summary="The versions of a definition, newest first, and the live workflows on each",
        tag="definitions",
        scope=Scope.DEFINITIONS_READ,
        parameters=_VERSION_PAGE,
        answers={200: Answer("One page.", list[schemas.DefinitionVersion], [examples.VERSION], ("Link",))},
        problems=(404,),
    ),
)
async def list_versions(request: Request, name: Name) -> Response:
    """The same as in `GET /workflows/versions`, of one definition."""
    _check_name(name)
    values = read_parameters(request, [*_VERSION_PAGE, parameters.PRETTY])
    limit = values["limit"]
    found = await services(request).store.definitions.versions_of(
        name, before=min(values["cursor"] or LARGEST_VERSION, LARGEST_VERSION), limit=limit + 1
    )
    headers = next_link(request, found[limit - 1].version) if len(found) > limit else None
    return json_answer(request, [views.version(version) for version in found[:limit]], headers=headers)


@router.get(
    "/{name}/versions/{version}",
    **operation(
        "definitions_get_version",
        summary="One version of a definition",
        tag="definitions",
        scope=Scope.DEFINITIONS_READ,
        parameters=[_YAML],
        answers=_ONE,
        problems=(404,),
    ),
)
async def get_version(
    request: Request, name: Name, version: Annotated[str, Path(description="The number of a version.")]
) -> Response:
    """Versions never change."""
    _check_name(name)
    form = read_parameters(request, [_YAML, parameters.PRETTY])["format"]
    number = parameters.natural(version, LARGEST_VERSION)
    if number is None:
        raise DefinitionNotFound(
            f"Workflow definition not found: {name}@{clipped(version)}", hint="A version is a number, 1 or more."
        )
    return _shown(request, await services(request).store.definitions.get(name, number), form)


@router.get(
    "/{name}/diff",
    **operation(
        "definitions_diff",
        summary="What changed from one version to another",
        tag="definitions",
        scope=Scope.DEFINITIONS_READ,
        parameters=[parameters.FROM_VERSION, parameters.TO_VERSION, _TEXT],
        answers={
            200: Answer(
                "The difference.",
                schemas.DefinitionDifference,
                examples.DIFFERENCE,
                others={MEDIA_TYPES["text"]: examples.DIFFERENCE_TEXT},
            )
        },
        problems=(404,),
    ),
)
async def diff(request: Request, name: Name) -> Response:
    """By default what the latest version changed. Steps are told apart by their ids, at every level: one that only
    moved has not changed."""
    _check_name(name)
    values = read_parameters(request, [parameters.FROM_VERSION, parameters.TO_VERSION, _TEXT, parameters.PRETTY])
    definitions = services(request).store.definitions
    new = await definitions.get(name, values["to"])
    old = await definitions.get(name, values["from"] or max(new.version - 1, 1))
    if values["format"] == "json":
        found = await asyncio.to_thread(compare, old.document, new.document)
        return json_answer(request, views.difference(name, old.version, new.version, found))
    try:
        text = await asyncio.to_thread(
            unified, old.document, new.document, f"{name}@{old.version}", f"{name}@{new.version}"
        )
    except ValueError as error:
        raise invalid_parameter("format", str(error)) from error
    return text_answer(text, MEDIA_TYPES["text"])


async def _read_document(request: Request) -> Mapping[str, Any]:
    return _definition_in(await read_document(request, limit=services(request).settings.max_payload_bytes))


def _definition_in(body: Any) -> Mapping[str, Any]:
    """The definition that a body is.

    Raises:
        InputInvalid: It is none, or the body of a start.
    """
    if not isinstance(body, dict):
        raise InputInvalid([Fault("", "validation-error", f"must be an object, not {json_type(body)}")])
    for name in _OF_A_START:
        if name in body:
            message = f"`{name}` belongs to a start, not to a definition: leave it out, or POST to {API}/workflows"
            raise InputInvalid([Fault(f"/{name}", "unknown-property", message)])
    return body


def _shown(request: Request, found: Definition, form: str) -> Response:
    if form == "yaml":
        return text_answer(as_yaml(found.document), MEDIA_TYPES["yaml"])
    return json_answer(request, views.definition(found))
