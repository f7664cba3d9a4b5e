"""Workers: who is alive, and who died."""

from __future__ import annotations

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services

router = routes_under(f"{API}/workers")


@router.get(
    "",
    **operation(
        "workers_list",
        summary="Workers that are alive and what they run",
        tag="workers",
        scope=Scope.ENGINE_READ,
        answers={200: Answer("All of them.", list[schemas.Worker], [examples.WORKER])},
    ),
)
async def list_workers(request: Request) -> Response:
    """Active and draining ones, oldest first."""
    read_parameters(request, [parameters.PRETTY])
    return json_answer(request, [views.worker(worker) for worker in await services(request).store.workers.list()])


@router.get(
    "/dead",
    **operation(
        "workers_list_dead",
        summary="Workers whose heartbeat stopped without a goodbye",
        tag="workers",
        scope=Scope.ENGINE_READ,
        answers={200: Answer("All of them.", list[schemas.DeadWorker], [examples.DEAD_WORKER])},
    ),
)
async def list_dead(request: Request) -> Response:
    """Kept for a day. The tasks they still hold are taken back when their leases expire."""
    read_parameters(request, [parameters.PRETTY])
    dead = await services(request).store.workers.list(dead=True)
    return json_answer(request, [views.dead_worker(worker) for worker in dead])
