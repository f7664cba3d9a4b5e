"""The outbox: what workflows have emitted, and what could not be delivered."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer, next_link
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.definition.faults import clipped
from workflow_engine.errors import DeliveryNotFound
from workflow_engine.store.pool import as_uuid

_PAGE = parameters.page(100)

router = routes_under(f"{API}/outbox")


@router.get(
    "",
    **operation(
        "outbox_list",
        summary="What workflows have emitted and is not delivered, newest first",
        tag="outbox",
        scope=Scope.WORKFLOWS_READ,
        parameters=[parameters.WORKFLOW_ID, parameters.DELIVERY_STATUS, *_PAGE],
        answers={200: Answer("One page.", list[schemas.Delivery], [examples.DELIVERY], ("Link",))},
    ),
)
async def list_outbox(request: Request) -> Response:
    """What is pending and what was given up, unless `status` says otherwise."""
    values = read_parameters(request, [parameters.WORKFLOW_ID, parameters.DELIVERY_STATUS, *_PAGE, parameters.PRETTY])
    found = await services(request).store.outbox.list(
        status=values["status"], workflow_id=values["workflow_id"], before=values["cursor"], limit=values["limit"] + 1
    )
    shown = found[: values["limit"]]
    headers = next_link(request, shown[-1].id) if len(found) > len(shown) else None
    return json_answer(request, [views.delivery(delivery) for delivery in shown], headers=headers)


@router.post(
    "/{delivery_id}/retry",
    **operation(
        "outbox_retry",
        summary="Send again what was given up",
        tag="outbox",
        scope=Scope.WORKFLOWS_CONTROL,
        answers={202: Answer("Due now.", schemas.Delivery, examples.DELIVERY)},
        problems=(404, 409),
    ),
)
async def retry(request: Request, delivery_id: Annotated[str, Path(description="The id of a delivery.")]) -> Response:
    """What waits for its next try is tried at once."""
    read_parameters(request, [parameters.PRETTY])
    id = as_uuid(delivery_id)
    if id is None:
        raise DeliveryNotFound(
            f"There is no delivery {clipped(delivery_id)}.",
            hint="GET /api/v1/outbox lists those that are not delivered.",
        )
    return json_answer(request, views.delivery(await services(request).store.outbox.redeliver(id)), 202)
