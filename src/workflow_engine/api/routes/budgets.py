"""Budgets of workflows: raising them."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.bodies import read_fields
from workflow_engine.api.operations import Answer, Body, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routes.workflow_id import WorkflowId, read_workflow_id
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.definition.workflow_fields import read_bounds
from workflow_engine.errors import InputInvalid

_BOUNDS = ("tokens", "cost_usd", "steps")

router = routes_under(f"{API}/workflows")


@router.post(
    "/{workflow_id}/budget",
    **operation(
        "workflows_set_budget",
        summary="Give a workflow other bounds for what it may use up",
        tag="workflows",
        scope=Scope.WORKFLOWS_CONTROL,
        body=Body(schemas.BudgetRequest, {"more tokens": examples.BUDGET}),
        answers={200: Answer("The budget as it is now.", schemas.BudgetUsage, examples.BUDGET_USAGE)},
        problems=(404,),
    ),
)
async def set_budget(request: Request, workflow_id: WorkflowId) -> Response:
    """The bounds that are named are replaced, what was used up stays. A workflow that its budget had paused goes on
    when it is not used up any more; so do those it started."""
    workflow_id = await read_workflow_id(request, workflow_id)
    read_parameters(request, [parameters.PRETTY])
    fields = await read_fields(request, (*_BOUNDS, "on_exceeded"), limit=services(request).settings.max_payload_bytes)
    budget = read_bounds(fields)
    if fields.faults:
        raise InputInvalid(fields.faults.found)
    bounds = {
        name: {key: bound for key, bound in asdict(getattr(budget, name)).items() if bound is not None}
        for name in _BOUNDS
        if getattr(budget, name) is not None
    }
    on_exceeded = budget.on_exceeded if "on_exceeded" in fields.values else None
    return json_answer(request, await services(request).store.control.set_budget(workflow_id, bounds, on_exceeded))
