"""The audit log: what was asked of the API, by whom."""

from __future__ import annotations

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import access_views as views
from workflow_engine.api import parameters, schemas
from workflow_engine.api.answers import API, json_answer, next_link
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services

_PAGE = parameters.page(100, of_tasks=True)
_PARAMETERS = (
    parameters.PRINCIPAL,
    parameters.OPERATION,
    parameters.WORKFLOW_ID,
    parameters.ANSWERED_WITH,
    parameters.ASKED_SINCE,
    parameters.ASKED_UNTIL,
    *_PAGE,
)

router = routes_under(f"{API}/audit")


@router.get(
    "",
    **operation(
        "access_list_audit",
        summary="What was asked of the API and changed something or was refused, latest first",
        tag="access",
        scope=Scope.AUDIT_READ,
        parameters=_PARAMETERS,
        answers={200: Answer("One page.", list[schemas.AuditRow], [views.AUDIT_ROW], ("Link",))},
    ),
)
async def list_audit(request: Request) -> Response:
    """Every request that may change something, whatever came of it, and every one that was answered 401 or 403."""
    values = read_parameters(request, [*_PARAMETERS, parameters.PRETTY])
    limit = values["limit"]
    found = await services(request).store.audit.list(
        principal=values["principal"],
        operation=values["operation"],
        workflow_id=values["workflow_id"],
        status=values["status"],
        since=values["since"],
        until=values["until"],
        before=values["cursor"],
        limit=limit + 1,
    )
    headers = next_link(request, found[limit - 1].id) if len(found) > limit else None
    return json_answer(request, [views.audit_row(row) for row in found[:limit]], headers=headers)
