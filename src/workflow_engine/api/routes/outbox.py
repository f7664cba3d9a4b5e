"""The outbox: what workflows have emitted, and what could not be delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Path, Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer, next_link, next_path
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.definition.faults import clipped
from workflow_engine.errors import DeliveryNotFound
from workflow_engine.observability.logs import get_logger
from workflow_engine.records import Delivery
from workflow_engine.store.pool import as_uuid

_PAGE = parameters.page(100)
_LIST = (
    parameters.WORKFLOW_ID,
    parameters.DELIVERY_STATUS,
    parameters.ORIGIN,
    parameters.FAILING,
    *_PAGE,
)
_RETRY = (
    parameters.WORKFLOW_ID,
    parameters.UNDELIVERED_STATUS,
    parameters.ORIGIN,
    parameters.FAILING,
    parameters.DRY_RUN,
    *_PAGE,
)

router = routes_under(f"{API}/outbox")


@router.get(
    "",
    **operation(
        "outbox_list",
        summary="What workflows have emitted and is not delivered, newest first",
        tag="outbox",
        scope=Scope.WORKFLOWS_READ,
        parameters=_LIST,
        answers={200: Answer("One page.", list[schemas.Delivery], [examples.DELIVERY], ("Link",))},
    ),
)
async def list_outbox(request: Request) -> Response:
    """What is pending and what was given up, unless `status` says otherwise."""
    values = read_parameters(request, [*_LIST, parameters.PRETTY])
    found = await _find(request, values)
    shown = found[: values["limit"]]
    headers = next_link(request, shown[-1].id) if len(found) > len(shown) else None
    return json_answer(request, [views.delivery(delivery) for delivery in shown], headers=headers)


@router.post(
    "/bulk/retry",
    **operation(
        "outbox_retry_many",
        summary="Send again many that were given up",
        tag="outbox",
        scope=Scope.WORKFLOWS_CONTROL,
        parameters=_RETRY,
        answers={200: Answer("How many are due now.", schemas.BulkDeliveries, examples.REDELIVERED)},
    ),
)
async def retry_many(request: Request) -> Response:
    """What was given up and the filters name, newest first; with `status=pending`, what waits for its next try is
    tried at once."""
    values = read_parameters(request, [*_RETRY, parameters.PRETTY])
    found = await _find(request, values, brief=True)
    page = found[: values["limit"]]
    done = len(page)
    if not values["dry_run"]:
        done = await services(request).store.outbox.redeliver_many([delivery.id for delivery in page])
        get_logger("api").info("deliveries sent again", deliveries=done)
    return json_answer(
        request,
        {
            "dry_run": values["dry_run"],
            "done": done,
            "unchanged": len(page) - done,
            "refused": 0,
            "next": next_path(request, page[-1].id) if len(found) > len(page) else None,
        },
    )


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


async def _find(request: Request, values: Mapping[str, Any], *, brief: bool = False) -> Sequence[Delivery]:
    """Those of a page, and one more if there are more."""
    return await services(request).store.outbox.list(
        status=values["status"],
        workflow_id=values["workflow_id"],
        origin=values["origin"],
        failing=values["failing"],
        before=values["cursor"],
        brief=brief,
        limit=values["limit"] + 1,
    )
