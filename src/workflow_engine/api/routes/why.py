"""Why a workflow does not go on."""

from __future__ import annotations

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer, next_link
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routes.workflow_id import WorkflowId, read_workflow_id
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services

_PAGE = parameters.page(parameters.MAX_LIMIT, of_tasks=True)

router = routes_under(f"{API}/workflows")


@router.get(
    "/{workflow_id}/why",
    **operation(
        "workflows_get_why",
        summary="Why each task that has not ended does not go on, since when, until when, and what helps",
        tag="workflows",
        scope=Scope.WORKFLOWS_READ,
        parameters=_PAGE,
        answers={200: Answer("One page; empty when it has ended.", list[schemas.Reason], [examples.REASON], ("Link",))},
        problems=(404,),
    ),
)
async def why(request: Request, workflow_id: WorkflowId) -> Response:
    """In plain words, with the command to type."""
    workflow_id = await read_workflow_id(request, workflow_id)
    values = read_parameters(request, [*_PAGE, parameters.PRETTY])
    after = -1 if values["cursor"] is None else values["cursor"]
    found = await services(request).store.workflows.why(workflow_id, after=after, limit=values["limit"] + 1)
    shown = found[: values["limit"]]
    headers = next_link(request, shown[-1].task_id) if len(found) > len(shown) else None
    return json_answer(request, [views.reason(reason) for reason in shown], headers=headers)
