"""Shows in Redis, as `workflow:lock:<workflow_id>`, that this engine operates on a workflow."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext

from fastapi import Request

from workflow_engine.api.services import services
from workflow_engine.store.pool import as_uuid

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def shown_operation(request: Request) -> AbstractAsyncContextManager[None]:
    """Around the handlers of all routes: those that change one workflow show it for as long as they take."""
    if request.method in _SAFE or "workflow_id" not in request.path_params:
        return nullcontext()
    workflow_id = as_uuid(request.path_params["workflow_id"])
    if workflow_id is None:
        return nullcontext()
    what = f"{request.method} {request.url.path.rstrip('/').rpartition('/')[2]}"
    return services(request).operations.during(workflow_id, what)
