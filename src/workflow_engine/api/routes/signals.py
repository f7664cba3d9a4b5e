"""Signals: send one to a workflow, see which were sent."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Path, Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer, next_link
from workflow_engine.api.bodies import read_optional_json
from workflow_engine.api.entering import principal_of
from workflow_engine.api.idempotency import key_header, read_key
from workflow_engine.api.operations import Answer, Body, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.problems import invalid_parameter
from workflow_engine.api.routes.workflow_id import WorkflowId, no_such_workflow, read_workflow_id
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.definition.faults import clipped
from workflow_engine.errors import WorkflowNotFound

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_KEY_HEADER = key_header("Repeating a request with its key repeats the first answer; it is one signal.")
_PAGE = parameters.page(100, of_tasks=True)

router = routes_under(f"{API}/workflows")
SignalName = Annotated[str, Path(description="The name of the signal, as the waiting step has it.")]


@router.post(
    "/{workflow_id}/signal/{name}",
    **operation(
        "workflows_signal",
        summary="Send a signal to a workflow",
        tag="workflows",
        scope=Scope.WORKFLOWS_SIGNAL,
        parameters=[parameters.BY],
        headers=[_KEY_HEADER],
        body=Body(schemas.SignalPayload, {"a payment": examples.SIGNAL_PAYLOAD}, required=False),
        answers={202: Answer("Sent.", schemas.SentSignal, examples.SIGNAL_SENT, ("Idempotency-Replayed",))},
        problems=(404, 409),
    ),
)
async def send(request: Request, workflow_id: WorkflowId, name: SignalName) -> Response:
    """The body is its payload, any JSON or nothing. It may come before, while or after a step waits for it: it is kept
    with the workflow until a wait takes it, in the order of sending, and each is taken once."""
    workflow_id = await read_workflow_id(request, workflow_id)
    by = principal_of(request).signed(read_parameters(request, [parameters.BY, parameters.PRETTY])["by"])
    if not _NAME.fullmatch(name):
        raise invalid_parameter("name", f"{clipped(name)} is not accepted: write 1 to 200 characters")
    key = read_key(request)
    payload = await read_optional_json(request, limit=services(request).settings.max_payload_bytes)
    try:
        sent = await services(request).store.signals.send(workflow_id, name, payload, by=by, key=key)
    except WorkflowNotFound as error:
        raise await no_such_workflow(request, workflow_id) from error
    headers = {"Idempotency-Replayed": "true"} if sent.repeated else None
    return json_answer(request, views.sent_signal(sent), 202, headers)


@router.get(
    "/{workflow_id}/signals",
    **operation(
        "workflows_list_signals",
        summary="The signals that were sent to a workflow, in their order",
        tag="workflows",
        scope=Scope.WORKFLOWS_READ,
        parameters=[parameters.SIGNAL_NAME, *_PAGE],
        answers={200: Answer("One page.", list[schemas.Signal], [examples.SIGNAL], ("Link",))},
        problems=(404,),
    ),
)
async def list_signals(request: Request, workflow_id: WorkflowId) -> Response:
    """`taken_by` is the task whose wait it has ended; null while it is free."""
    workflow_id = await read_workflow_id(request, workflow_id)
    values = read_parameters(request, [parameters.SIGNAL_NAME, *_PAGE, parameters.PRETTY])
    found = await services(request).store.signals.list(
        workflow_id, name=values["name"], after=values["cursor"] or 0, limit=values["limit"] + 1
    )
    shown = found[: values["limit"]]
    headers = next_link(request, shown[-1].seq) if len(found) > len(shown) else None
    return json_answer(request, [views.signal(signal) for signal in shown], headers=headers)
