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

_AMONG = 100_000  # rows are looked through for one page
_PAGE = parameters.page(100, of_tasks=True)
_PARAMETERS = (*parameters.AUDIT_FILTERS, *_PAGE)

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
    """Every request that may change something, whatever came of it, and every one that was answered 401 or 403.
    A page is filled from 100,000 rows: with filters that few meet it may be short, and a next one follows."""
    values = read_parameters(request, [*_PARAMETERS, parameters.PRETTY])
    which = parameters.audit_filter(values)
    found, position, _ = await services(request).store.audit.page(
        which, before=values["cursor"], among=_AMONG, limit=values["limit"]
    )
    headers = None if position is None else next_link(request, position)
    return json_answer(request, [views.audit_row(row) for row in found], headers=headers)
