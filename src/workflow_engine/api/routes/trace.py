"""What happened in a workflow and how long it took: its attempts as spans."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routes.workflow_id import WorkflowId, read_workflow_id
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.observability.chrome_trace import chrome_trace
from workflow_engine.observability.otlp import otlp_trace

_FORM = parameters.form({"otlp": "OpenTelemetry", "chrome": "for Perfetto"})
_EXPORT = {"otlp": otlp_trace, "chrome": chrome_trace}

router = routes_under(f"{API}/workflows")


@router.get(
    "/{workflow_id}/trace",
    **operation(
        "workflows_get_trace",
        summary="Every attempt of a workflow's tasks, in the order they started",
        tag="workflows",
        scope=Scope.WORKFLOWS_READ,
        parameters=[_FORM],
        answers={
            200: Answer(
                "The spans; with `format` an object of that form.",
                list[schemas.Span] | schemas.OtlpTrace | schemas.ChromeTrace,
                [examples.SPAN],
            )
        },
        problems=(404,),
    ),
)
async def get_trace(request: Request, workflow_id: WorkflowId) -> Response:
    """Waiting and running are told apart; attempts that run now are included."""
    workflow_id = await read_workflow_id(request, workflow_id)
    form = read_parameters(request, [_FORM, parameters.PRETTY])["format"]
    store = services(request).store
    attempts = await store.history.attempts(workflow_id)
    if form == "json":
        return json_answer(request, [views.span(attempt, workflow_id) for attempt in attempts])
    return json_answer(request, _EXPORT[form](await store.workflows.get(workflow_id), attempts, datetime.now(UTC)))
