"""Locks and limits: who holds them, who waits, and taking them away."""

from __future__ import annotations

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer, next_link
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routes.workflow_id import WorkflowId, read_workflow_id
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.observability.logs import get_logger

_PAGE = (parameters.KEY_PREFIX, *parameters.page(parameters.MAX_LIMIT, by_name=True))

router = routes_under(API)


@router.get(
    "/locks",
    **operation(
        "locks_list",
        summary="Locks and limits in use: who holds them and who waits",
        tag="locks",
        scope=Scope.WORKFLOWS_READ,
        parameters=_PAGE,
        answers={200: Answer("One page.", list[schemas.Lock], [examples.LOCK], ("Link",))},
    ),
)
async def list_locks(request: Request) -> Response:
    """Locks first, by key. Exact, from Postgres; the keys `workflow:lock:*` in Redis only show it. Take the next
    page from the header `Link`."""
    values = read_parameters(request, [*_PAGE, parameters.PRETTY])
    found = await services(request).store.locks.list(
        after=values["cursor"] or "lock:", prefix=values["prefix"], limit=values["limit"] + 1
    )
    shown = found[: values["limit"]]
    headers = next_link(request, f"{shown[-1].kind}:{shown[-1].key}") if len(found) > len(shown) else None
    return json_answer(request, [views.lock(lock) for lock in shown], headers=headers)


@router.post(
    "/workflows/{workflow_id}/release-locks",
    **operation(
        "workflows_release_locks",
        summary="Release the locks of a workflow",
        tag="workflows",
        scope=Scope.WORKFLOWS_CONTROL,
        answers={200: Answer("Released.", schemas.ReleasedLocks, examples.LOCKS_RELEASED)},
        problems=(404,),
    ),
)
async def release_locks(request: Request, workflow_id: WorkflowId) -> Response:
    """Use with caution. A running task that works under one of them is stopped and tried again later, which spends no
    try; its late result is void. Without effect when it holds none."""
    workflow_id = await read_workflow_id(request, workflow_id)
    read_parameters(request, [parameters.PRETTY])
    released = await services(request).store.locks.release(workflow_id)
    if released.locks:
        get_logger("api").warning("locks released", workflow_id=workflow_id, locks=released.locks, tasks=released.tasks)
    return json_answer(request, views.released_locks(released))
