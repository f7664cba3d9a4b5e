"""Schedules: when definitions start by themselves."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Path, Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schedule_views, schemas, views
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.entering import principal_of
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.problems import invalid_parameter
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.definition.cron import due_between

_MOST_BACKFILLED = 1000

Name = Annotated[str, Path(description="The name of a definition with a schedule.")]

router = routes_under(f"{API}/schedules")


@router.get(
    "",
    **operation(
        "schedules_list",
        summary="All schedules, by the name of their definition",
        tag="schedules",
        scope=Scope.WORKFLOWS_READ,
        answers={200: Answer("All of them.", list[schemas.Schedule], [examples.SCHEDULE])},
    ),
)
async def list_schedules(request: Request) -> Response:
    """With the times at which they are due next."""
    read_parameters(request, [parameters.PRETTY])
    entries = await services(request).store.schedules.list()
    shown = [schedule_views.schedule(list(its)) for _, its in itertools.groupby(entries, lambda entry: entry.name)]
    return json_answer(request, shown)


@router.get(
    "/{name}",
    **operation(
        "schedules_get",
        summary="The schedule of a definition",
        tag="schedules",
        scope=Scope.WORKFLOWS_READ,
        answers={200: Answer("The schedule.", schemas.Schedule, examples.SCHEDULE)},
        problems=(404,),
    ),
)
async def get(request: Request, name: Name) -> Response:
    """That of the version with which new workflows start."""
    read_parameters(request, [parameters.PRETTY])
    return await _show(request, name)


@router.get(
    "/{name}/due-times",
    **operation(
        "schedules_due_times",
        summary="Due times of the past, and their workflows",
        tag="schedules",
        scope=Scope.WORKFLOWS_READ,
        parameters=[parameters.FROM, parameters.BEFORE],
        answers={200: Answer("By due time.", schemas.DueTimes, examples.DUE_TIMES)},
        problems=(404,),
    ),
)
async def due_times(request: Request, name: Name) -> Response:
    """What `backfill` with the same times would do: it starts a workflow for each that has none. At most
    1,000 of them, by the schedule as it is now."""
    times = await _due_times(request, name)
    started = await services(request).store.schedules.started_for(name, [time for _, time in times])
    return json_answer(request, schedule_views.due_times(times, started))


@router.post(
    "/{name}/pause",
    **operation(
        "schedules_pause",
        summary="Pause a schedule",
        tag="schedules",
        scope=Scope.WORKFLOWS_CONTROL,
        answers={200: Answer("Paused.", schemas.Schedule, examples.SCHEDULE_PAUSED)},
        problems=(404,),
    ),
)
async def pause(request: Request, name: Name) -> Response:
    """Until it is resumed; a new version of the definition does not end it. What runs goes on."""
    read_parameters(request, [parameters.PRETTY])
    await services(request).store.schedules.pause(name)
    return await _show(request, name)


@router.post(
    "/{name}/resume",
    **operation(
        "schedules_resume",
        summary="Resume a schedule",
        tag="schedules",
        scope=Scope.WORKFLOWS_CONTROL,
        answers={200: Answer("Not paused.", schemas.Schedule, examples.SCHEDULE)},
        problems=(404,),
    ),
)
async def resume(request: Request, name: Name) -> Response:
    """What was due meanwhile is not made up for; `backfill` does that."""
    read_parameters(request, [parameters.PRETTY])
    await services(request).store.schedules.resume(name)
    return await _show(request, name)


@router.post(
    "/{name}/run",
    **operation(
        "schedules_run",
        summary="Start one workflow of a schedule now",
        tag="schedules",
        scope=Scope.WORKFLOWS_START,
        answers={202: Answer("Accepted.", schemas.Started, examples.STARTED, ("Location",))},
        problems=(404, 409),
    ),
)
async def run(request: Request, name: Name) -> Response:
    """With the input of its first entry. The due times stay as they are, and what overlaps is not looked at."""
    read_parameters(request, [parameters.PRETTY])
    await services(request).admission.check()
    started = await services(request).store.schedules.run(name, principal=principal_of(request).name)
    return json_answer(request, views.started(started, ()), 202, {"Location": views.path_of(started.id)})


@router.post(
    "/{name}/backfill",
    **operation(
        "schedules_backfill",
        summary=f"Start workflows for up to {_MOST_BACKFILLED:,} due times of the past",
        tag="schedules",
        scope=Scope.WORKFLOWS_START,
        parameters=[parameters.FROM, parameters.BEFORE],
        answers={202: Answer("Accepted, by due time.", list[schemas.Backfilled], [examples.BACKFILLED])},
        problems=(404, 409),
    ),
)
async def backfill(request: Request, name: Name) -> Response:
    """All or none. A due time for which there is a workflow is answered with that. Unless `overlap` is `allow` they run
    one after the other."""
    times = await _due_times(request, name)
    await services(request).admission.check()
    started = await services(request).store.schedules.backfill(name, times, principal=principal_of(request).name)
    return json_answer(request, [schedule_views.backfilled(one) for one in started], 202)


async def _due_times(request: Request, name: str) -> list[tuple[int, datetime]]:
    """Positions in a schedule, with their due times between those of the query."""
    values = read_parameters(request, [parameters.FROM, parameters.BEFORE, parameters.PRETTY])
    if values["from"] is None:
        raise invalid_parameter("from", "is missing: from which time on, such as 2026-01-31T00:00:00Z or 7d")
    until = min(values["until"] or datetime.now(UTC), datetime.now(UTC))
    moment, most = timedelta(microseconds=1), _MOST_BACKFILLED + 1
    entries = await services(request).store.schedules.get(name)

    def between() -> list[tuple[int, datetime]]:
        first, last = values["from"] - moment, until - moment
        found = ((e.position, at) for e in entries for at in due_between(e.cron, e.timezone, first, last, most))
        return [*itertools.islice(found, most)]

    times = await asyncio.to_thread(between)  # a thousand of them take long enough to keep others waiting
    if len(times) > _MOST_BACKFILLED:
        raise invalid_parameter("from", f"more than {_MOST_BACKFILLED:,} due times; do it in parts")
    return times


async def _show(request: Request, name: str) -> Response:
    return json_answer(request, schedule_views.schedule(await services(request).store.schedules.get(name)))
