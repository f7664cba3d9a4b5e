"""The log of one workflow."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas
from workflow_engine.api.answers import API, MEDIA_TYPES, dump, json_answer, next_link
from workflow_engine.api.following import Told
from workflow_engine.api.log_lines import PAGE, as_logfmt, log_lines, said_by_engine, whole_log
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routes.workflow_id import WorkflowId, read_workflow_id
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.api.streams import open_stream

_FORM = parameters.form({"text": "logfmt, the whole log", "ndjson": "an object a line, the whole log"})
_PARAMETERS = (*parameters.page(PAGE, of_tasks=True), _FORM, parameters.FOLLOW)
_FAREWELL = "this engine stops and the log goes on: follow it again"

router = routes_under(f"{API}/workflows")


@router.get(
    "/{workflow_id}/logs",
    **operation(
        "workflows_get_logs",
        summary="What happened to a workflow, line by line",
        tag="workflows",
        scope=Scope.WORKFLOWS_READ,
        parameters=_PARAMETERS,
        answers={
            200: Answer(
                "One page, oldest first; in another form the whole log.",
                list[schemas.LogLine],
                [examples.LOG_LINE],
                ("Link",),
                {
                    MEDIA_TYPES["text"]: examples.LOG_TEXT,
                    MEDIA_TYPES["ndjson"]: dump(examples.LOG_LINE).decode(),
                },
            )
        },
        problems=(404,),
    ),
)
async def get_logs(request: Request, workflow_id: WorkflowId) -> Response:
    """From the database, so that it is whole whichever process did the work. `limit` counts events. What is followed
    outlasts an outage of Postgres, and says in a last line when its engine stops before the workflow has ended."""
    workflow_id = await read_workflow_id(request, workflow_id)
    values = read_parameters(request, [*_PARAMETERS, parameters.PRETTY])
    after = values["cursor"] or 0
    history = services(request).store.history
    if values["format"] == "json" and not values["follow"]:
        found = await history.log(workflow_id, after=after, limit=values["limit"] + 1)
        shown = found[: values["limit"]]
        headers = next_link(request, shown[-1].seq) if len(found) > len(shown) else None
        return json_answer(request, list(log_lines(shown)), headers=headers)

    form = "text" if values["format"] == "text" else "ndjson"
    if values["follow"]:
        told = await services(request).following.workflow(workflow_id, after)
        farewell = _encode(workflow_id, form, [said_by_engine("warn", _FAREWELL)])
        return open_stream(
            request, _followed(told, workflow_id, form), MEDIA_TYPES[form], heartbeat=b"\n", farewell=farewell
        )

    pages = whole_log(history, workflow_id, after=after)
    first = await anext(pages)  # before the answer begins: there may be no such workflow

    async def lines() -> AsyncIterator[bytes]:
        yield _encode(workflow_id, form, log_lines(first))
        async for page in pages:
            yield _encode(workflow_id, form, log_lines(page))

    return StreamingResponse(lines(), headers={"Content-Type": f"{MEDIA_TYPES[form]}; charset=utf-8"})


async def _followed(told: AsyncGenerator[Told, None], workflow_id: str, form: str) -> AsyncGenerator[bytes, None]:
    async with aclosing(told):
        async for some in told:
            yield _encode(workflow_id, form, log_lines(some.events))


def _encode(workflow_id: str, form: str, lines: Iterable[dict[str, Any]]) -> bytes:
    if form == "text":
        return "".join(f"{as_logfmt(workflow_id, line)}\n" for line in lines).encode()
    return b"".join(dump(line) for line in lines)
