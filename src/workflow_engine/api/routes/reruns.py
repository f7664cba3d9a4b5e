"""Running a workflow again from a step."""

from __future__ import annotations

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import parameters, schemas, views
from workflow_engine.api import rerun_examples as examples
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.bodies import read_fields
from workflow_engine.api.entering import principal_of, require
from workflow_engine.api.idempotency import key_header, read_key
from workflow_engine.api.operations import Answer, Body, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.problems import clip
from workflow_engine.api.rerunning import RerunRequest, kept_approvals, rerun
from workflow_engine.api.routes.workflow_id import WorkflowId, read_workflow_id
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.api.starting import Key
from workflow_engine.errors import InputInvalid
from workflow_engine.observability.logs import get_logger

_MAX_VERSION = 2**31 - 1
_KEY_HEADER = key_header(
    "Repeating a request with its key within 24 hours repeats the first answer and starts nothing."
)

router = routes_under(f"{API}/workflows")
_log = get_logger("api")


@router.post(
    "/{workflow_id}/rerun",
    **operation(
        "workflows_rerun",
        summary="Run a workflow again from a step, as a new workflow",
        tag="workflows",
        scope=Scope.WORKFLOWS_START,
        parameters=[parameters.DRY_RUN],
        headers=[_KEY_HEADER],
        body=Body(schemas.RerunRequest, {"from a step, with another input": examples.RERUN}, required=False),
        answers={
            202: Answer("Accepted.", schemas.Rerun, examples.RERAN, ("Location", "Idempotency-Replayed")),
            200: Answer("With `dry_run`: what would be done.", schemas.Rerun, examples.DRY),
        },
        problems=(404, 409),
    ),
)
async def rerun_workflow(request: Request, workflow_id: WorkflowId) -> Response:
    """The new workflow begins with the results of the steps that do not lie behind `from`; the old one stays as it is.
    What did not succeed runs again too. `effects` names what is done outside once more; ask with `dry_run` before.
    To keep what people have approved takes the scope `workflows:control`, too."""
    workflow_id = await read_workflow_id(request, workflow_id)
    dry_run = read_parameters(request, [parameters.DRY_RUN, parameters.PRETTY])["dry_run"]
    limit = services(request).settings.max_payload_bytes
    fields = await read_fields(request, ("from", "input", "version"), limit=limit)
    asked = RerunRequest(
        start=fields.text("from", longest=64),
        has_input=fields.get("input") is not None,
        input=fields.get("input"),
        version=fields.integer("version", 1, _MAX_VERSION),
    )
    if fields.faults:
        raise InputInvalid(fields.faults.found)
    may_keep = principal_of(request).may(Scope.WORKFLOWS_CONTROL)
    if not may_keep and (kept := await kept_approvals(services(request).store, workflow_id, asked)):
        # They approved another run, perhaps with another input: who starts may not decide that it holds for this.
        require(request, Scope.WORKFLOWS_CONTROL, what=f"Keeping the answers of {clip(', '.join(kept), 200)}")
    key = None if dry_run else Key.of(read_key(request), {"rerun_of": workflow_id, **fields.values})
    by = principal_of(request).name
    if not dry_run:
        await services(request).admission.check()
    done = await rerun(services(request).store, workflow_id, asked, dry_run=dry_run, key=key, by=by)
    found = done.rerun
    shown = {
        "id": None if found.id is None else str(found.id),
        "rerun_of": workflow_id,
        "name": found.name,
        "version": found.version,
        "status": found.status,
        "again": found.again,
        "kept": found.kept,
        "effects": done.effects,
        "warnings": done.warnings,
        "links": {} if found.id is None else views.links(found.id),
    }
    if found.id is None:
        return json_answer(request, shown)
    if not found.replayed:
        _log.info("workflow rerun", workflow_id=workflow_id, rerun_as=str(found.id), start=asked.start)
    headers = {"Location": views.path_of(found.id)} | ({"Idempotency-Replayed": "true"} if found.replayed else {})
    return json_answer(request, shown, 202, headers)
