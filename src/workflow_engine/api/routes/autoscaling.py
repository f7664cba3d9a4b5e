"""What decides how many workers there should be."""

from __future__ import annotations

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services

router = routes_under(f"{API}/autoscaling")


@router.get(
    "/load",
    **operation(
        "autoscaling_load",
        summary="How many slots are asked for, for an autoscaler",
        tag="workers",
        scope=Scope.METRICS_READ,
        parameters=[parameters.LOAD_OF],
        answers={200: Answer("Every number is there, if only as 0.", schemas.Load, examples.LOAD)},
    ),
)
async def load(request: Request) -> Response:
    """`load` is what is pending and what runs, so that workers stay while they have something to do: divided by the
    slots of a worker, it is the number of workers. The same on every replica, and at most two seconds old. When
    Postgres does not answer the answer is 503, never 0."""
    queue = read_parameters(request, [parameters.LOAD_OF, parameters.PRETTY])["queue"]
    return json_answer(request, views.load(await services(request).scraping.gauges(), queue))
