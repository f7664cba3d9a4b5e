"""From a path to its handler without a detour.

FastAPI tells of the routes in the OpenAPI document. What it would do for each request besides, to find out what a
handler is to be given, takes longer than most handlers: ours take the request and the texts of its path, so they are
called with those.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from workflow_engine.api.bodies import take_no_other_body
from workflow_engine.api.entering import enter
from workflow_engine.api.operating import shown_operation


class Route(APIRoute):
    """A route whose handler takes the request and, by their names, the texts of its path."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.dependant.dependencies or self.dependant.query_params or self.dependant.body_params:
            raise TypeError(f"{self.endpoint} takes something else than the request and the texts of its path")
        self.app = self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        await enter(request)
        await take_no_other_body(request)
        async with shown_operation(request):
            response = await self.endpoint(request, **request.path_params)
            await response(scope, receive, send)


def routes_under(prefix: str) -> APIRouter:
    """Where the handlers of a path and of those below it are named."""
    return APIRouter(prefix=prefix, route_class=Route)


def add_routes(app: FastAPI, *routers: APIRouter) -> None:
    """Have an application serve what was named; asked in this order."""
    for router in routers:
        assert all(isinstance(route, Route) for route in router.routes)
        app.router.routes.extend(router.routes)
