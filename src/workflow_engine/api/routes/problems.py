"""What the types of problems mean: where the `help` of every problem leads."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import parameters, schemas
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.problem_types import PROBLEM_TYPES
from workflow_engine.api.problems import TYPE_PREFIX
from workflow_engine.api.routing import routes_under
from workflow_engine.definition.faults import clipped, did_you_mean
from workflow_engine.errors import RequestRefused

router = routes_under(f"{API}/problems")


def _shown(code: str) -> dict[str, Any]:
    kind = PROBLEM_TYPES[code]
    return {
        "code": code,
        "type": TYPE_PREFIX + code,
        "status": kind.status,
        "meaning": kind.meaning,
        "remedy": kind.remedy,
    }


_EXAMPLE = _shown("cycle-detected")


@router.get(
    "",
    **operation(
        "problems_list",
        summary="The types of problems, by status",
        tag="engine",
        scope=Scope.OPEN,
        answers={200: Answer("All of them.", list[schemas.ProblemType], [_EXAMPLE])},
    ),
)
async def list_problems(request: Request) -> Response:
    """Their codes do not change their meaning."""
    read_parameters(request, [parameters.PRETTY])
    return json_answer(request, [_shown(code) for code in PROBLEM_TYPES])


@router.get(
    "/{code}",
    **operation(
        "problems_get",
        summary="What a type of problem means, and what to do about it",
        tag="engine",
        scope=Scope.OPEN,
        answers={200: Answer("The type.", schemas.ProblemType, _EXAMPLE)},
        problems=(404,),
    ),
)
async def get(request: Request, code: Annotated[str, Path(description="The `code` of a problem.")]) -> Response:
    """The `help` of each problem leads here."""
    read_parameters(request, [parameters.PRETTY])
    if code not in PROBLEM_TYPES:
        hint = did_you_mean(code, PROBLEM_TYPES).removeprefix("; ").capitalize() or None
        raise RequestRefused("problem-not-found", f"There is no problem type {clipped(code)}.", hint=hint)
    return json_answer(request, _shown(code))
