"""The names that the expressions of a step may use, with their values."""

from __future__ import annotations

from typing import Any

from workflow_engine.definition.plan import Plan, PlanStep
from workflow_engine.records import Claim
from workflow_engine.states import TaskStatus


def names(claim: Claim, plan: Plan) -> dict[str, Any]:
    """What every expression of the claim's step sees.

    What the scopes around it add is merged already: an `item` of an inner one hides that of an outer one. In handlers,
    `workflow` also says how it is going to end; what it has not got is absent.
    """
    related = {
        "parent_id": claim.workflow_parent_id,
        "status": claim.workflow_status,
        "error": claim.workflow_error,
    }
    variables = claim.variables or {}
    return {
        "input": claim.input,
        "steps": claim.steps or {},
        "vars": plan.vars,
        **variables,
        "workflow": {
            "id": claim.workflow_id,
            "name": claim.workflow_name,
            "version": claim.workflow_version,
            "attempt": claim.attempt,
            "labels": claim.labels,
            "started_at": claim.workflow_started_at,
            **{name: value for name, value in related.items() if value is not None},
        },
    }


def outputs_of_dependencies(claim: Claim, plan: Plan, step: PlanStep) -> dict[str, Any]:
    """What the direct dependencies that succeeded gave, by step id; a body has those of the step it repeats."""
    if not claim.steps:
        return {}
    ids = (plan.steps[index].id for index in plan.whole(step).dependencies)
    return {
        id: claim.steps[id]["output"] for id in ids if claim.steps.get(id, {}).get("status") == TaskStatus.SUCCEEDED
    }
