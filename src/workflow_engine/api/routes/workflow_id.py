"""The id of a workflow in a path, and help for who put something else there."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Path, Request

from workflow_engine.api.problems import clip
from workflow_engine.api.services import services
from workflow_engine.definition.faults import clipped
from workflow_engine.errors import WorkflowNotFound
from workflow_engine.records import WorkflowFilter

WorkflowId = Annotated[str, Path(description="The id of a workflow.")]

_PLACEHOLDERS = frozenset({"workflow_id", "id"})
_AMONG = 20_000  # the newest, among which one of that name is looked for
_OPERATIONS = frozenset({"batch", "recover-orphaned", "reload"})


async def read_workflow_id(request: Request, workflow_id: str) -> str:
    """What a path has as the id of a workflow, as Postgres writes it.

    Raises:
        WorkflowNotFound: It cannot; told so that it helps.
    """
    try:
        found = str(UUID(workflow_id))
    except ValueError:
        raise await no_such_workflow(request, workflow_id) from None
    request.scope["workflow_id"] = found  # for the log line of this request
    return found


def is_placeholder(given: str) -> bool:
    """Whether this stands in the runbook for a real id; curl strips its braces."""
    return given.strip("{}") in _PLACEHOLDERS


async def no_such_workflow(request: Request, given: str) -> WorkflowNotFound:
    """The runbook's placeholder, the name of a definition, or a forgotten `-X POST` are the usual mistakes."""
    search = services(request).store.search
    shown = clipped(given)
    if is_placeholder(given):
        recent = ", ".join(str(workflow.id) for workflow in await search.list(WorkflowFilter(), limit=3)) or "none yet"
        detail = f"{shown} looks like the placeholder; put a real id here; recent ids: {recent}."
        return WorkflowNotFound(detail)
    if given in _OPERATIONS:
        return WorkflowNotFound(
            f"{shown} is an operation, not the id of a workflow.", hint=f"POST /api/v1/workflows/{given}"
        )
    of_that_name = WorkflowFilter(name=clip(given, 200))
    if "\0" not in given and (of_name := await search.list(of_that_name, among=_AMONG, limit=1)):
        detail = f"{shown} is the name of a definition, not the id of a workflow."
        return WorkflowNotFound(detail, hint=f"Did you mean its latest workflow, {of_name[0].id}?")
    return WorkflowNotFound(f"There is no workflow {shown}.", hint="GET /api/v1/workflows lists recent ones.")
