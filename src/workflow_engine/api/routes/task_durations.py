"""How long tasks take, and which are slow."""

from __future__ import annotations

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services

_STATS = (parameters.window("1h"), parameters.TYPE)
_SLOW = (parameters.THRESHOLD, parameters.window("24h"), parameters.TYPE, parameters.limit(100))

router = routes_under(f"{API}/tasks")


@router.get(
    "/stats",
    **operation(
        "tasks_get_stats",
        summary="How long attempts take: mean and percentiles, in all and by task type",
        tag="tasks",
        scope=Scope.WORKFLOWS_READ,
        parameters=_STATS,
        answers={200: Answer("The statistics.", schemas.TaskStats, examples.TASK_STATS)},
    ),
)
async def stats(request: Request) -> Response:
    """Of the newest 20,000 attempts that ended in the window, and apart from them of those that run now."""
    values = read_parameters(request, [*_STATS, parameters.PRETTY])
    found = await services(request).store.task_durations.stats(window=values["window"], type=values["type"])
    return json_answer(request, found)


@router.get(
    "/slow",
    **operation(
        "tasks_list_slow",
        summary="Attempts that took long or have been running for long, longest first",
        tag="tasks",
        scope=Scope.WORKFLOWS_READ,
        parameters=_SLOW,
        answers={200: Answer("The longest.", list[schemas.SlowAttempt], [examples.SLOW_ATTEMPT])},
    ),
)
async def slow(request: Request) -> Response:
    """Those that ended in the window, and those that run; with a threshold below 10 s, among the newest 20,000."""
    values = read_parameters(request, [*_SLOW, parameters.PRETTY])
    found = await services(request).store.task_durations.slow(
        threshold=values["threshold"], window=values["window"], type=values["type"], limit=values["limit"]
    )
    default = services(request).settings.task_timeout
    return json_answer(request, [views.slow_attempt(attempt, default) for attempt in found])
