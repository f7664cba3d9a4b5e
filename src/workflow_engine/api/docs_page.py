"""/docs: the OpenAPI document with a form for each request, from files of our own and without inline scripts."""

from __future__ import annotations

import json
from html import escape

from fastapi import APIRouter, FastAPI, Response

from workflow_engine.access import Scope, declares

_ASSETS = "/static-offline-docs"  # fastapi-offline mounts them
_START = "/docs/start.js"
_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self' data:;"
    " style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def docs_router(app: FastAPI) -> APIRouter:
    """The page and the script that begins it."""
    router = APIRouter(include_in_schema=False)
    page = (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(app.title)}</title>"
        f'<link rel="stylesheet" href="{_ASSETS}/swagger-ui.css"><link rel="icon" href="{_ASSETS}/favicon.png"></head>'
        f'<body><div id="swagger-ui"></div><script src="{_ASSETS}/swagger-ui-bundle.js"></script>'
        f'<script src="{_START}"></script></body></html>\n'
    )
    options = {"url": app.openapi_url, "dom_id": "#swagger-ui", "deepLinking": True, "showExtensions": True}
    start = f"SwaggerUIBundle({json.dumps(options)})\n"

    @router.get("/docs", openapi_extra=declares(Scope.OPEN))
    async def docs() -> Response:
        return Response(page, headers={"Content-Security-Policy": _POLICY}, media_type="text/html")

    @router.get(_START, openapi_extra=declares(Scope.OPEN))
    async def script() -> Response:
        return Response(start, media_type="text/javascript")

    return router
