"""Trying a definition without workers."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import parameters, schemas
from workflow_engine.api import trial_examples as examples
from workflow_engine.api import trial_views as views
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.bodies import read_document
from workflow_engine.api.operations import Answer, Body, operation
from workflow_engine.api.parameters import LARGEST_VERSION, read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.definition.faults import Faults
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.scope import json_type
from workflow_engine.errors import Fault, InputInvalid
from workflow_engine.testing.reading import FIELDS

router = routes_under(f"{API}/definitions")


@router.post(
    "/test",
    **operation(
        "definitions_test",
        summary="Run a definition with given outputs and a virtual clock; nothing is stored",
        tag="definitions",
        scope=Scope.DEFINITIONS_WRITE,
        body=Body(schemas.TrialRequest, {"a retry": examples.REQUEST}, yaml={"a retry": examples.YAML}),
        answers={200: Answer("What came of it.", schemas.Trial, examples.TRIAL)},
        problems=(404,),
    ),
)
async def test(request: Request) -> Response:
    """The engine itself runs it, in a transaction that is rolled back: no worker, no network, no waiting. The answer is
    200 also for a workflow that fails, or that waits for what was not given."""
    read_parameters(request, [parameters.PRETTY])
    body = await read_document(request, limit=services(request).settings.max_payload_bytes)
    if not isinstance(body, dict):
        raise InputInvalid([Fault("", "validation-error", f"must be an object, not {json_type(body)}")])
    document, pointer = await _definition(request, body)
    result = await services(request).trials.run(document, body, pointer=pointer)
    return json_answer(request, views.trial(result))


async def _definition(request: Request, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The document to try, and where it stands in the body.

    Raises:
        InputInvalid: The body names none, or has something else wrong.
        DefinitionNotFound: There is none of that name and version.
    """
    fields = Fields(body, "", Faults())
    fields.refuse_unknown(("definition", "name", "version", *FIELDS))
    document, name = fields.mapping("definition"), fields.text("name")
    version = fields.integer("version", 1, LARGEST_VERSION)
    if (fields.get("definition") is None) == (fields.get("name") is None):
        fields.faults.add("", "validation-error", "needs either `definition` or `name`")
    if document is not None and version is not None:
        fields.fault("version", "validation-error", "goes with `name` only")
    if fields.faults:
        raise InputInvalid(fields.faults.found)
    if document is not None:
        return document, "/definition"
    return (await services(request).store.definitions.get(name or "", version)).document, ""
