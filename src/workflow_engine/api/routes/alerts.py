"""Alerts: what is wrong, as the rules for Prometheus say it, evaluated from the database."""

from __future__ import annotations

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.observability.alerts import at_present

router = routes_under(f"{API}/alerts")


@router.get(
    "",
    **operation(
        "alerts_list",
        summary="Alerts whose condition holds: what fires, and what will unless it passes",
        tag="engine",
        scope=Scope.ENGINE_READ,
        answers={200: Answer("All of them, those that fire first.", list[schemas.Alert], [examples.ALERT])},
    ),
)
async def list_alerts(request: Request) -> Response:
    """The rules of `deploy/prometheus`, which the leader evaluates from the database. None: all is well."""
    read_parameters(request, [parameters.PRETTY])
    watched = await services(request).store.alerts.watched()
    return json_answer(request, [views.alert(alert) for alert in at_present(watched)])
