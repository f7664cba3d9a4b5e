"""Workers: who is alive, and who died."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.entering import principal_of
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.definition.faults import clipped
from workflow_engine.errors import WorkerNotFound
from workflow_engine.observability.logs import get_logger

_LONGEST = 18  # digits of an id

router = routes_under(f"{API}/workers")
WorkerId = Annotated[str, Path(description="The id of a worker, as the list has it.")]


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
    """Kept for a day, with what became of the tasks they held. Those they still hold are taken back as leases end."""
    read_parameters(request, [parameters.PRETTY])
    workers = services(request).store.workers
    dead = await workers.list(dead=True)
    tasks = await workers.tasks([worker.id for worker in dead if worker.current_tasks or worker.lost_tasks])
    return json_answer(request, [views.dead_worker(worker, tasks.get(worker.id, ())) for worker in dead])


@router.post(
    "/{worker_id}/drain",
    **operation(
        "workers_drain",
        summary="Drain a worker: let it claim nothing more",
        tag="workers",
        scope=Scope.ENGINE_CONTROL,
        answers={200: Answer("It claims nothing.", schemas.Worker, examples.DRAINED_WORKER)},
        problems=(404, 409),
    ),
)
async def drain(request: Request, worker_id: WorkerId) -> Response:
    """What it runs goes on, and it stays, until `undrain`. A process that begins anew is another worker, and claims.
    409 when it is dead or has stopped."""
    id = _read_id(request, worker_id)
    workers = services(request).store.workers
    await workers.drain(id, by=principal_of(request).name or None)
    worker = await workers.get(id)
    get_logger("api").warning("worker drained", worker=worker.name, worker_id=id, by=worker.drained_by)
    return json_answer(request, views.worker(worker))


@router.post(
    "/{worker_id}/undrain",
    **operation(
        "workers_undrain",
        summary="Undrain a worker",
        tag="workers",
        scope=Scope.ENGINE_CONTROL,
        answers={200: Answer("It claims, unless it drains for a reason of its own.", schemas.Worker, examples.WORKER)},
        problems=(404, 409),
    ),
)
async def undrain(request: Request, worker_id: WorkerId) -> Response:
    """Within `WORKFLOW_POLL_SECONDS`. Without effect on one that was not drained."""
    id = _read_id(request, worker_id)
    workers = services(request).store.workers
    await workers.undrain(id)
    worker = await workers.get(id)
    get_logger("api").info("worker undrained", worker=worker.name, worker_id=id)
    return json_answer(request, views.worker(worker))


def _read_id(request: Request, given: str) -> int:
    read_parameters(request, [parameters.PRETTY])
    if not (given.isascii() and given.isdecimal()) or len(given) > _LONGEST:
        hint = "GET /api/v1/workers lists those that are alive, with their ids."
        raise WorkerNotFound(f"There is no worker {clipped(given)}.", hint=hint)
    return int(given)
