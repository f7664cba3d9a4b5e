"""Pausing and resuming: the engine as a whole, or one workflow."""

from __future__ import annotations

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.entering import principal_of
from workflow_engine.api.operations import Answer, Body, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.reasons import read_reason
from workflow_engine.api.routes.workflow_id import WorkflowId, read_workflow_id
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.observability.logs import get_logger

router = routes_under(API)


@router.post(
    "/pause",
    **operation(
        "engine_pause",
        summary="Pause the intake: accept and start nothing new",
        tag="engine",
        scope=Scope.ENGINE_CONTROL,
        parameters=[parameters.TTL],
        body=Body(schemas.ReasonRequest, {"with a reason": examples.PAUSE}, required=False),
        answers={200: Answer("Paused, on all replicas.", schemas.EngineState, examples.ENGINE_PAUSED)},
    ),
)
async def pause(request: Request) -> Response:
    """Starts are answered with 503 and pending workflows wait; running ones go on, and everything else works. It lasts
    through restarts, until `resume` or for `ttl`. Pausing again changes the end,
    who paused it and why."""
    ttl = read_parameters(request, [parameters.TTL, parameters.PRETTY])["ttl"]
    reason, by = await read_reason(request), principal_of(request).name or None
    state = await services(request).store.engine.pause(seconds=ttl, by=by, reason=reason)
    get_logger("api").warning("engine paused", until=state.until, running=state.running, by=by, reason=reason)
    return json_answer(request, views.engine_state(state))


@router.post(
    "/resume",
    **operation(
        "engine_resume",
        summary="Resume the intake",
        tag="engine",
        scope=Scope.ENGINE_CONTROL,
        answers={200: Answer("Not paused.", schemas.EngineState, examples.ENGINE_RESUMED)},
    ),
)
async def resume(request: Request) -> Response:
    """What is pending is dispatched at once. Without effect on an engine that is not paused."""
    read_parameters(request, [parameters.PRETTY])
    state = await services(request).store.engine.resume()
    get_logger("api").info("engine resumed", running=state.running)
    return json_answer(request, views.engine_state(state))


@router.post(
    "/workflows/{workflow_id}/pause",
    **operation(
        "workflows_pause",
        summary="Pause a workflow",
        tag="workflows",
        scope=Scope.WORKFLOWS_CONTROL,
        body=Body(schemas.ReasonRequest, {"with a reason": examples.PAUSE_WORKFLOW}, required=False),
        answers={200: Answer("Paused.", schemas.PausedWorkflow, examples.WORKFLOW_PAUSED)},
        problems=(404, 409),
    ),
)
async def pause_workflow(request: Request, workflow_id: WorkflowId) -> Response:
    """Nothing more of it is begun until it is resumed; what runs may end. It can be cancelled."""
    workflow_id = await read_workflow_id(request, workflow_id)
    read_parameters(request, [parameters.PRETTY])
    reason, by = await read_reason(request), principal_of(request).name or None
    paused = await services(request).store.control.pause(workflow_id, by=by, reason=reason)
    return json_answer(request, views.paused_workflow(paused))


@router.post(
    "/workflows/{workflow_id}/resume",
    **operation(
        "workflows_resume",
        summary="Resume a workflow",
        tag="workflows",
        scope=Scope.WORKFLOWS_CONTROL,
        answers={200: Answer("Not paused.", schemas.PausedWorkflow, examples.WORKFLOW_RESUMED)},
        problems=(404, 409),
    ),
)
async def resume_workflow(request: Request, workflow_id: WorkflowId) -> Response:
    """Without effect on one that is not paused."""
    workflow_id = await read_workflow_id(request, workflow_id)
    read_parameters(request, [parameters.PRETTY])
    return json_answer(request, views.paused_workflow(await services(request).store.control.resume(workflow_id)))
