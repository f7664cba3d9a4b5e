"""/admin/outbox: what workflows have emitted and does not get through; /admin/outbox/{id}: one delivery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workflow_engine.access import Scope
from workflow_engine.api import parameters
from workflow_engine.api.answers import cursor_of
from workflow_engine.api.parameters import read_parameters
from workflow_engine.dashboard.actions import Action
from workflow_engine.dashboard.page import Group, Page
from workflow_engine.dashboard.visit import Visit
from workflow_engine.definition.faults import clipped
from workflow_engine.errors import DeliveryNotFound, InputInvalid
from workflow_engine.records import Delivery
from workflow_engine.states import DeliveryStatus
from workflow_engine.store.pool import as_uuid

_ROWS = 50
_TARGETS_SECONDS = 5.0
_LONG_SECONDS = 60.0  # a delivery that waits for so long is late
_KNOWN = (
    parameters.DELIVERY_STATUS,
    parameters.WORKFLOW_ID,
    parameters.ORIGIN,
    parameters.FAILING,
    *parameters.page(_ROWS),
)


async def read(visit: Visit) -> Mapping[str, Any]:
    fault: InputInvalid | None = None
    found: Sequence[Delivery] = ()
    values: Mapping[str, Any] = {}
    store = visit.store.outbox
    try:
        values = read_parameters(visit.request, _KNOWN)
    except InputInvalid as error:
        fault = error
    else:
        found = await store.list(
            status=values["status"],
            workflow_id=values["workflow_id"],
            origin=values["origin"],
            failing=values["failing"],
            before=values["cursor"],
            brief=True,
            limit=_ROWS + 1,
        )
    shown = found[:_ROWS]
    gauges = visit.gauges
    targets = await visit.kept("delivery targets", _TARGETS_SECONDS, store.targets)
    asked = (",".join(values.get("status", ())), bool(values.get("failing")))
    chips: tuple[tuple[str, str | None, str | None, int | None], ...] = (
        ("Not delivered", None, None, gauges.outbox_pending + gauges.outbox_dead),
        ("Given up", "dead", None, gauges.outbox_dead),
        ("Waiting", "pending", None, gauges.outbox_pending),
        ("Failing", "pending", "yes", None),
        ("Delivered", "delivered", None, None),
    )
    filters = {name: visit.asked(name) for name in ("workflow_id", "origin") if visit.asked(name)}
    return {
        "fault": fault,
        "status": 200 if fault is None else 422,
        "deliveries": [(delivery, retry(delivery)) for delivery in shown],
        "choices": [
            (label, visit.here(status=status, failing=failing, cursor=None),
             asked == (status or "pending,dead", bool(failing)), count)
            for label, status, failing, count in chips
        ],
        "targets": [(target, _retry_all({"origin": target.origin} if target.origin else {})) for target in targets],
        "one": len({target.origin for target in targets}) == 1,
        "filters": filters,
        "workflow": values.get("workflow_id"),
        "origin": values.get("origin"),
        "late": gauges.outbox_pending_seconds > _LONG_SECONDS,
        "all_of_them": _retry_all(filters) if shown and fault is None and gauges.outbox_dead else None,
        "first": visit.here(cursor=None) if visit.asked("cursor") else None,
        "more": visit.here(cursor=cursor_of(shown[-1].id)) if len(found) > _ROWS else None,
    }  # fmt: skip


def retry(delivery: Delivery) -> Action | None:
    if delivery.status == DeliveryStatus.DELIVERED:
        return None
    label = "Send again" if delivery.status == DeliveryStatus.DEAD else "Try now"
    return Action(label, f"/outbox/{delivery.id}/retry", Scope.WORKFLOWS_CONTROL, "Being sent again.")


def _retry_all(filters: Mapping[str, str]) -> Action:
    return Action(
        "Send all again",
        "/outbox/bulk/retry",
        Scope.WORKFLOWS_CONTROL,
        "Being sent again: {done}.",
        ask="Sends what was given up again, with as many tries as before. Receivers can recognise repeats by their"
        " Webhook-Id.",
        query={**filters, "status": "dead"},
        of_many=True,
        things=("delivery", "deliveries"),
    )


RETRY_DELIVERIES = _retry_all({})


async def read_one(visit: Visit) -> Mapping[str, Any]:
    given = str(visit.request.path_params["delivery_id"])
    id_ = as_uuid(given)
    if id_ is None:
        raise DeliveryNotFound(f"There is no delivery {clipped(given)}.", hint="The list has those that there are.")
    delivery = await visit.store.outbox.get(id_)
    return {"delivery": delivery, "retry": retry(delivery), "to": as_uuid(delivery.target or "")}


PAGE = Page(
    "/admin/outbox",
    "outbox.html",
    read,
    Scope.WORKFLOWS_READ,
    "Outbox",
    "b",
    Group.WORK,
    waiting=lambda visit: visit.gauges.outbox_dead,
)
ONE = Page("/admin/outbox/{delivery_id}", "delivery.html", read_one, Scope.WORKFLOWS_READ)
