"""Workflows: list, look at, cancel, retry. Starting them is `starts`' matter."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, MEDIA_TYPES, json_answer, next_link
from workflow_engine.api.entering import principal_of
from workflow_engine.api.operations import Answer, Body, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.problems import invalid_parameter
from workflow_engine.api.reasons import read_reason
from workflow_engine.api.routes.workflow_id import WorkflowId, read_workflow_id
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.api.workflow_csv import as_csv
from workflow_engine.states import WorkflowStatus
from workflow_engine.store.workflow_search import AMONG

_PAGE = parameters.page(100)
_TASK_PAGE = parameters.page(parameters.MAX_LIMIT, of_tasks=True)
_FORM = parameters.form({"csv": "a table, of all pages"})
_LIST = (*parameters.FILTERS, parameters.PARENT, parameters.ORDER, *_PAGE, _FORM)
_AMONG_LONGEST = 20_000  # of which those that ran longest are found

router = routes_under(f"{API}/workflows")


@router.get(
    "",
    **operation(
        "workflows_list",
        summary="List workflows, newest first, without their inputs and outputs",
        tag="workflows",
        scope=Scope.WORKFLOWS_READ,
        parameters=_LIST,
        answers={
            200: Answer(
                "One page; in another form all of them.",
                list[schemas.WorkflowSummary],
                [examples.SUMMARY],
                ("Link",),
                {MEDIA_TYPES["csv"]: examples.WORKFLOWS_CSV},
            )
        },
    ),
)
async def list_workflows(request: Request) -> Response:
    """Filters can be combined. Take the next page from the header `Link`; one of what few meet may be short or empty,
    and have one all the same."""
    values = read_parameters(request, [*_LIST, parameters.PRETTY])
    which = parameters.workflow_filter(values, parent=values["parent"])
    search, order = services(request).store.search, values["sort"]
    if values["format"] == "csv":
        if order == "longest":
            raise invalid_parameter("sort", "longest comes in pages: leave out `format`, or `sort`")
        return await _table(as_csv(search, which, order))
    among = _AMONG_LONGEST if order == "longest" else AMONG
    found = await search.page(which, before=values["cursor"], among=among, limit=values["limit"], order=order)
    headers = None if found.further is None else next_link(request, found.further)
    return json_answer(request, [views.summary(workflow) for workflow in found.workflows], headers=headers)


@router.get(
    "/running",
    **operation(
        "workflows_list_running",
        summary="List all workflows that run: started, not ended, and going on by themselves; oldest first",
        tag="workflows",
        scope=Scope.WORKFLOWS_READ,
        parameters=[parameters.INCLUDE],
        answers={200: Answer("All of them, never cut short.", list[schemas.WorkflowSummary], [examples.SUMMARY])},
    ),
)
async def list_running(request: Request) -> Response:
    """For `jq length` in a drain loop: pending workflows are not among them, and without `include=waiting` neither are
    those of which nothing runs or goes on by itself."""
    included = read_parameters(request, [parameters.INCLUDE, parameters.PRETTY])["include"]
    running = await services(request).store.workflows.running(waiting="waiting" in included)
    return json_answer(request, [views.summary(workflow) for workflow in running])


@router.get(
    "/{workflow_id}",
    **operation(
        "workflows_get",
        summary="One workflow with its input and output",
        tag="workflows",
        scope=Scope.WORKFLOWS_READ,
        answers={200: Answer("The workflow.", schemas.Workflow, examples.WORKFLOW)},
        problems=(404,),
    ),
)
async def get(request: Request, workflow_id: WorkflowId) -> Response:
    """Its output is null until it has succeeded; its error is that of the first task that failed it."""
    workflow_id = await read_workflow_id(request, workflow_id)
    read_parameters(request, [parameters.PRETTY])
    return json_answer(request, views.workflow(await services(request).store.workflows.get(workflow_id)))


@router.get(
    "/{workflow_id}/tasks",
    **operation(
        "workflows_list_tasks",
        summary="The tasks of a workflow, one for each step, in the order of the definition",
        tag="workflows",
        scope=Scope.WORKFLOWS_READ,
        parameters=_TASK_PAGE,
        answers={200: Answer("One page.", list[schemas.Task], [examples.TASK], ("Link",))},
        problems=(404,),
    ),
)
async def list_tasks(request: Request, workflow_id: WorkflowId) -> Response:
    """Every step of the definition is listed, whatever became of it."""
    workflow_id = await read_workflow_id(request, workflow_id)
    values = read_parameters(request, [*_TASK_PAGE, parameters.PRETTY])
    after = -1 if values["cursor"] is None else values["cursor"]
    found = await services(request).store.workflows.tasks(workflow_id, after=after, limit=values["limit"] + 1)
    shown = found[: values["limit"]]
    headers = next_link(request, shown[-1].id) if len(found) > len(shown) else None
    return json_answer(request, [views.task(task) for task in shown], headers=headers)


@router.post(
    "/{workflow_id}/cancel",
    **operation(
        "workflows_cancel",
        summary="Cancel a workflow",
        tag="workflows",
        scope=Scope.WORKFLOWS_CONTROL,
        body=Body(schemas.ReasonRequest, {"with a reason": examples.CANCEL}, required=False),
        answers={
            202: Answer("Cancelled, or its ending has begun.", schemas.Ended, examples.CANCELLED),
            200: Answer("It was cancelled before; nothing changed.", schemas.Ended, examples.CANCELLED),
        },
        problems=(404, 409),
    ),
)
async def cancel(request: Request, workflow_id: WorkflowId) -> Response:
    """What has not ended is cancelled; handlers that run are told to stop, and their results are void. So are its
    children, unless they are to be abandoned. Where the definition has `compensate` or `on_exit`, that is done first:
    `status` is still `running` then, and `ending` says `cancelled`. Cancelled again, it is over at once."""
    workflow_id = await read_workflow_id(request, workflow_id)
    read_parameters(request, [parameters.PRETTY])
    reason, by = await read_reason(request), principal_of(request).name or None
    before, status, ending = await services(request).store.control.cancel(workflow_id, reason=reason, by=by)
    ended = {"id": workflow_id, "status": status, "ending": ending, "links": views.links(workflow_id)}
    return json_answer(request, ended, 200 if before == WorkflowStatus.CANCELLED else 202)


@router.post(
    "/{workflow_id}/retry",
    **operation(
        "workflows_retry",
        summary="Retry a workflow: run again what failed, or wake a pending one",
        tag="workflows",
        scope=Scope.WORKFLOWS_CONTROL,
        parameters=[parameters.FORCE],
        answers={202: Answer("Reopened.", schemas.Reopened, examples.REOPENED, ("Location",))},
        problems=(404, 409),
    ),
)
async def retry(request: Request, workflow_id: WorkflowId) -> Response:
    """What succeeded is kept. A workflow that was cancelled is run again only with `force`."""
    workflow_id = await read_workflow_id(request, workflow_id)
    force = read_parameters(request, [parameters.FORCE, parameters.PRETTY])["force"]
    count = await services(request).store.control.retry(workflow_id, force=force)
    reopened = {"id": workflow_id, "tasks": count, "links": views.links(workflow_id)}
    return json_answer(request, reopened, 202, {"Location": views.path_of(workflow_id)})


async def _table(lines: AsyncGenerator[bytes, None]) -> Response:
    first = await anext(lines)  # before the answer begins: Postgres may be away

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for more in lines:
            yield more

    headers = {
        "Content-Type": f"{MEDIA_TYPES['csv']}; charset=utf-8; header=present",
        "Content-Disposition": 'attachment; filename="workflows.csv"',
    }
    return StreamingResponse(whole(), headers=headers)
