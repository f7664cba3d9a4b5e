"""The JSON Schema of the definition language, at an address that stays."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import parameters
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.definition.json_schema import definition_schema

_SHOWN = {name: definition_schema()[name] for name in ("$schema", "$id", "title", "type")}

router = routes_under(f"{API}/schema")


@router.get(
    "/definition.json",
    **operation(
        "schema_get_definition",
        summary="The JSON Schema (draft 2020-12) of definitions",
        tag="definitions",
        scope=Scope.OPEN,
        answers={200: Answer("The schema.", dict[str, Any], _SHOWN)},
    ),
)
async def get_definition_schema(request: Request) -> Response:
    """For editors, which complete and check while one writes: name this address as `$schema`. What it accepts has the
    right shape; references, expressions and the graph are for `POST /definitions/validate` to judge."""
    read_parameters(request, [parameters.PRETTY])
    return json_answer(request, definition_schema())
