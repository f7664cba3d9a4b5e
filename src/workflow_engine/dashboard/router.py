"""The routes of the dashboard: its pages, their files, and the stream that says when to look again."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from importlib import resources
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from workflow_engine.access import Scope, declares
from workflow_engine.api import parameters
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.services import services
from workflow_engine.api.streams import Event, event_stream
from workflow_engine.dashboard.page import Page, Rendering
from workflow_engine.dashboard.pages import PAGES
from workflow_engine.errors import Forbidden, NotFound
from workflow_engine.observability import metrics

_MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_OPEN = declares(Scope.OPEN)
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}  # their addresses change with their content
_FOR_NOW = {"Cache-Control": "no-store"}


def dashboard_router(*, needs_keys: bool) -> APIRouter:
    """The pages, as routes.

    Args:
        needs_keys: Whether callers of the API must show one.
    """
    files = {file.name: file.read_bytes() for file in resources.files(__package__).joinpath("static").iterdir()}
    # One for all of them, as a folder: so a module gets those it imports as they were together with it.
    stamp = hashlib.sha256(b"".join(name.encode() + files[name] for name in sorted(files))).hexdigest()[:12]
    rendering = Rendering(PAGES, f"/admin/static/{stamp}/", needs_keys=needs_keys)

    class PageRoute(APIRoute):
        """Tells those who may not see a page so as a page: whoever follows a link has to find back."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def shown(request: Request) -> Response:
                try:
                    return await handle(request)
                except Forbidden as error:
                    metrics.refused_requests.labels(error.code).inc()
                    return rendering.failure(request, error)

            return shown

    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get("/", openapi_extra=_OPEN)
    async def start() -> Response:
        return RedirectResponse("admin")  # relative: behind a proxy there may be a path before it

    @router.get("/admin/static/{version}/{name}", openapi_extra=_OPEN)
    async def static(version: str, name: str) -> Response:
        if name not in files:
            return Response(status_code=404)
        # While engines are replaced, one may be asked for the file of another: by that address nobody is to keep ours.
        headers = _FOR_EVER if version == stamp else _FOR_NOW
        return Response(files[name], headers=headers, media_type=_MEDIA_TYPES[name.rpartition(".")[2]])

    @router.get("/admin/changes", openapi_extra=declares(Scope.ENGINE_READ))
    async def changes(request: Request) -> Response:
        known = read_parameters(request, [parameters.AFTER])["after"] or 0
        return event_stream(request, _hints(services(request).following.everything(known)))

    for page in PAGES:
        router.add_api_route(page.path, _route(rendering, page), methods=["GET"], openapi_extra=declares(page.scope))

    @router.get("/admin/{rest:path}", openapi_extra=declares(Scope.ANY_KEY))
    async def nothing(request: Request, rest: str) -> Response:
        if not rest:
            return RedirectResponse("../admin")
        return rendering.failure(
            request, NotFound("There is no such page.", hint="The navigation leads to all there are.")
        )

    return router


async def _hints(changes: AsyncGenerator[int, None]) -> AsyncGenerator[list[Event], None]:
    """That something has happened, and no more: a page then looks again, and now and then without a hint, too."""
    async with aclosing(changes):
        async for number in changes:
            yield [Event(number)]


def _route(rendering: Rendering, page: Page) -> Callable[[Request], object]:
    async def show(request: Request) -> Response:
        return await rendering.answer(request, page)

    return show
