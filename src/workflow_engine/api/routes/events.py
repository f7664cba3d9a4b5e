"""What happens to a workflow, as it happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas
from workflow_engine.api.answers import API
from workflow_engine.api.following import Told
from workflow_engine.api.log_lines import log_lines
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.problems import invalid_parameter
from workflow_engine.api.routes.workflow_id import WorkflowId, read_workflow_id
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.api.streams import MEDIA_TYPE, Event, event_stream

_LAST = "Last-Event-ID"
_LAST_HEADER = {
    "name": _LAST,
    "in": "header",
    "required": False,
    "schema": {"type": "integer", "minimum": 0},
    "description": "Only events after this one. Browsers send it by themselves when they come back.",
    "example": 4711,
}

router = routes_under(f"{API}/workflows")


@router.get(
    "/{workflow_id}/events",
    **operation(
        "workflows_follow_events",
        summary="What happens to a workflow, as server-sent events, until it has ended",
        tag="workflows",
        scope=Scope.WORKFLOWS_READ,
        parameters=[parameters.AFTER],
        headers=[_LAST_HEADER],
        answers={
            200: Answer(
                "A stream; the data of each event but `end` is a line of the log.",
                schemas.LogLine,
                examples.LOG_LINE,
                others={MEDIA_TYPE: examples.EVENTS},
            )
        },
        problems=(404,),
    ),
)
async def follow_events(request: Request, workflow_id: WorkflowId) -> Response:
    """From the database, so that any engine can go on with it where another broke off: each event has its place as its
    `id`. What a handler logged comes with the event that ended its attempt. The last one is named `end` and has the
    `status` of the workflow, `deleted` if it is gone: whoever gets it need not come back."""
    workflow_id = await read_workflow_id(request, workflow_id)
    after = _place(request, read_parameters(request, [parameters.AFTER, parameters.PRETTY])["after"])
    return event_stream(request, _events(await services(request).following.workflow(workflow_id, after)))


def _place(request: Request, given: int | None) -> int:
    """Who comes back says in the header how far it was, whatever the address still says."""
    header = request.headers.get(_LAST)
    if not header:
        return given or 0
    try:
        return int(parameters.AFTER.read(header))
    except ValueError as error:
        raise invalid_parameter(_LAST, str(error)) from error


async def _events(told: AsyncGenerator[Told, None]) -> AsyncGenerator[list[Event], None]:
    async with aclosing(told):
        async for some in told:
            yield [Event(line, event.seq) for event in some.events for line in log_lines([event])]
            if some.ended is not None:
                yield [Event({"status": some.ended}, name="end")]
