"""Starting workflows, one or many."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import definition_examples, examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.auditing import row_of, was_audited
from workflow_engine.api.bodies import read_document, read_json
from workflow_engine.api.entering import principal_of, require
from workflow_engine.api.idempotency import key_header, read_key
from workflow_engine.api.operations import Answer, Body, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.api.starting import Key
from workflow_engine.api.starts import MAX_BATCH, StartRequest, read_batch, read_start
from workflow_engine.api.tracing import TRACEPARENT, traceparent_of

BATCH_BODY_FACTOR = 16
"""How many times larger than a single body a batch may be."""

_PREFER_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,9})(?:$|[,;\s])")
_KEY_HEADER = key_header(
    "Repeating a request with its key within 24 hours repeats the first answer and starts nothing."
)

router = routes_under(f"{API}/workflows")


@router.post(
    "",
    **operation(
        "workflows_create",
        summary="Start a workflow, registering its definition when it comes with steps",
        tag="workflows",
        scope=Scope.WORKFLOWS_START,
        parameters=[parameters.WAIT],
        headers=[_KEY_HEADER, TRACEPARENT],
        body=Body(
            schemas.StartRequest,
            {"runbook": examples.CREATE_WORKFLOW, "registered definition": examples.START_BY_NAME},
            yaml={"runbook": definition_examples.YAML},
        ),
        answers={
            202: Answer("Accepted.", schemas.Started, examples.STARTED, ("Location", "Idempotency-Replayed")),
            200: Answer("With `wait`: it has ended.", schemas.Workflow, examples.WORKFLOW, ("Location",)),
        },
        problems=(404, 409),
    ),
)
async def create(request: Request) -> Response:
    """With `steps` the body is a definition (with `input`, `labels` and `priority` for this one workflow): a version is
    registered when its content is new, and started; it takes the scope `definitions:write`, too. Without `steps` the
    registered definition `name` is started."""
    wait = read_parameters(request, [parameters.WAIT, parameters.PRETTY])["wait"] or _preferred_wait(request)
    key_text = read_key(request)
    body = await read_document(request, limit=services(request).settings.max_payload_bytes)
    start = read_start(body)
    _check_may_define(request, [start])
    if wait:
        services(request).waiting.prepare()
    begun = await services(request).starter.start(
        [start],
        Key.of(key_text, body),
        by=principal_of(request).name,
        awaited=bool(wait),
        audit=row_of(request.scope, 202),
        traceparent=traceparent_of(request.scope),
    )
    if not begun.replayed:
        was_audited(request.scope)
    started = begun.workflows[0]
    request.scope["workflow_id"] = str(started.id)
    headers = {"Location": views.path_of(started.id)}
    if begun.replayed or started.existing:
        headers["Idempotency-Replayed"] = "true"
    if wait:
        ended, status = await services(request).waiting.until_ended(started.id, timeout=wait)
        if ended:
            workflow = await services(request).store.workflows.get(str(started.id))
            return json_answer(request, views.workflow(workflow), headers=headers)
        started = replace(started, status=status or started.status)
    return json_answer(request, views.started(started, begun.warnings[0]), 202, headers)


@router.post(
    "/batch",
    **operation(
        "workflows_create_batch",
        summary=f"Start up to {MAX_BATCH:,} workflows in one transaction, all or none",
        tag="workflows",
        scope=Scope.WORKFLOWS_START,
        headers=[_KEY_HEADER, TRACEPARENT],
        body=Body(schemas.StartRequest, {"two": examples.BATCH}, many=True),
        answers={
            202: Answer(
                "Accepted, in the order of the body.",
                list[schemas.StartedBriefly],
                [examples.STARTED_BRIEFLY],
                ("Idempotency-Replayed",),
            )
        },
        problems=(404, 409),
    ),
)
async def create_batch(request: Request) -> Response:
    """One transaction for bulk starts; the whole body may be 16 times as large as a single one."""
    read_parameters(request, [parameters.PRETTY])
    key_text = read_key(request)
    limit = services(request).settings.max_payload_bytes
    body = await read_json(request, limit=limit * BATCH_BODY_FACTOR)
    starts = read_batch(body, limit)
    _check_may_define(request, starts)
    begun = await services(request).starter.start(
        starts, Key.of(key_text, body), by=principal_of(request).name, traceparent=traceparent_of(request.scope)
    )
    headers = {"Idempotency-Replayed": "true"} if begun.replayed else None
    return json_answer(request, [views.started_briefly(started) for started in begun.workflows], 202, headers)


def _check_may_define(request: Request, starts: Sequence[StartRequest]) -> None:
    """Who brings steps says what workers do."""
    if any(start.document is not None for start in starts):
        require(request, Scope.DEFINITIONS_WRITE)


def _preferred_wait(request: Request) -> float:
    """Seconds by `Prefer: wait=30` (RFC 7240); a preference may be followed in part, so it is capped, not refused."""
    match = _PREFER_WAIT.search(request.headers.get("prefer", "").lower())
    return min(float(match[1]), parameters.MAX_WAIT_SECONDS) if match else 0.0
