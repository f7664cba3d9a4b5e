"""Who asks, as the engine sees it."""

from __future__ import annotations

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import access_views as views
from workflow_engine.api import parameters, schemas
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.entering import principal_of
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services

router = routes_under(f"{API}/whoami")


@router.get(
    "",
    **operation(
        "access_get_whoami",
        summary="Who you are to the engine, and what you may do",
        tag="access",
        scope=Scope.ANY_KEY,
        answers={200: Answer("You.", schemas.WhoAmI, views.WHO_AM_I)},
    ),
)
async def whoami(request: Request) -> Response:
    """Without authentication everybody may do everything, and nobody is known."""
    read_parameters(request, [parameters.PRETTY])
    needs_keys = services(request).settings.needs_keys
    return json_answer(request, views.who_am_i(principal_of(request), needs_keys=needs_keys))
