"""Orphaned workflows: which there are, and making them go on."""

from __future__ import annotations

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.bodies import read_fields, read_texts
from workflow_engine.api.operations import Answer, Body, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.errors import InputInvalid
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger

_MAX_IDS = 10_000

router = routes_under(f"{API}/workflows")


@router.get(
    "/orphaned",
    **operation(
        "workflows_list_orphaned",
        summary="Live workflows that nobody moves any more, longest first",
        tag="workflows",
        scope=Scope.WORKFLOWS_READ,
        answers={200: Answer("Those that were found.", list[schemas.OrphanedWorkflow], [examples.ORPHANED])},
    ),
)
async def list_orphaned(request: Request) -> Response:
    """A task runs on a worker that is dead, has stopped or is unknown (`worker_dead`); its lease has run out although
    its worker lives (`lock_expired`); or its job is gone (`lost_wakeup`, in the 1,000 oldest live workflows)."""
    read_parameters(request, [parameters.PRETTY])
    found = await services(request).store.orphans.list(grace_seconds=services(request).settings.grace_seconds)
    return json_answer(request, views.orphans(found))


@router.post(
    "/recover-orphaned",
    **operation(
        "workflows_recover_orphaned",
        summary="Recover orphaned workflows, or cancel them",
        tag="workflows",
        scope=Scope.WORKFLOWS_CONTROL,
        parameters=[parameters.ORPHAN_ACTION, parameters.DRY_RUN],
        body=Body(schemas.RecoverRequest, {"only these": examples.RECOVER}, required=False),
        answers={200: Answer("What was done.", schemas.Recovery, examples.RECOVERY)},
    ),
)
async def recover_orphaned(request: Request) -> Response:
    """All that `GET /workflows/orphaned` lists, or `ids` alone. Their claims are taken back as the engine itself does
    it when a lease runs out: late results are refused, and the tasks run again."""
    values = read_parameters(request, [parameters.ORPHAN_ACTION, parameters.DRY_RUN, parameters.PRETTY])
    ids = await _read_ids(request)
    settings = services(request).settings
    done = await services(request).store.orphans.recover(
        ids,
        action=values["action"],
        dry_run=values["dry_run"],
        max_crashes=settings.most_lost_claims,
        grace_seconds=settings.grace_seconds,
    )
    if not values["dry_run"]:
        log = get_logger("api")
        for workflow_id in done.recovered:
            log.info("orphaned workflow recovered", workflow_id=workflow_id)
        for workflow_id in done.cancelled:
            log.info("orphaned workflow cancelled", workflow_id=workflow_id)
        if values["action"] == "recover":
            metrics.count_orphans(done.tasks)
    return json_answer(request, views.recovery(done, dry_run=values["dry_run"]))


async def _read_ids(request: Request) -> list[str] | None:
    fields = await read_fields(request, ("ids",), limit=services(request).settings.max_payload_bytes)
    ids = read_texts(fields, "ids", most=_MAX_IDS)
    if fields.faults:
        raise InputInvalid(fields.faults.found)
    return ids
