"""Shows in Redis, as `workflow:lock:<workflow_id>`, that this engine operates on a workflow."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import Request

from workflow_engine.api.services import services
from workflow_engine.store.pool import as_uuid

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


async def show_operation(request: Request) -> AsyncIterator[None]:
    """A dependency of all routes: those that change one workflow show it for as long as the request takes."""
    workflow_id = as_uuid(request.path_params.get("workflow_id", ""))
    if request.method in _SAFE or workflow_id is None:
        yield
        return
    what = f"{request.method} {request.url.path.rstrip('/').rpartition('/')[2]}"
    async with services(request).operations.during(workflow_id, what):
        yield
