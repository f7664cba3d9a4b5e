"""/admin/audit: who asked for what: who cancelled it, who paused the engine, who was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.routing import APIRoute

from workflow_engine.access import Scope
from workflow_engine.api import parameters
from workflow_engine.api.answers import cursor_of
from workflow_engine.api.parameters import read_parameters
from workflow_engine.dashboard.page import GoTo, Group, Page
from workflow_engine.dashboard.visit import Visit
from workflow_engine.errors import InputInvalid
from workflow_engine.records import AuditRow

AMONG = 20_000
"""So many rows are looked through for one page; what is rarer is found by going on."""

_ROWS = 50
_KNOWN = (*parameters.AUDIT_FILTERS, *parameters.page(_ROWS, of_tasks=True))
_SINCE = (("", "any time"), ("1h", "an hour"), ("24h", "a day"), ("7d", "a week"), ("30d", "a month"))
_CHIPS: Sequence[tuple[str, Mapping[str, str]]] = (
    ("All", {}),
    ("Cancelled", {"operation": "workflows_cancel*"}),
    ("Retried", {"operation": "workflows_retry*"}),
    ("Paused the engine", {"operation": "engine_pause"}),
    ("Answered approvals", {"operation": "approvals_answer"}),
    ("Not allowed", {"status": "403"}),
    ("Bad or missing key", {"status": "401"}),
)
# What is written without a request: the command `token`.
_OF_KEYS = {
    "key_created": "Made a key of the API",
    "key_rotated": "Replaced a key of the API",
    "key_revoked": "Revoked a key of the API",
}


async def read(visit: Visit) -> Mapping[str, Any] | GoTo:
    given = visit.request.query_params
    kept = {name: value.strip() for name, value in given.multi_items() if value.strip()}
    if kept != dict(given.multi_items()):
        return GoTo(visit.url("/admin/audit", **kept))  # a form with empty fields has an address of its own
    fault: InputInvalid | None = None
    found: list[AuditRow] = []
    more, searched = None, False
    try:
        values = read_parameters(visit.request, _KNOWN)
    except InputInvalid as error:
        fault = error
    else:
        which = parameters.audit_filter(values)
        found, more, searched = await visit.store.audit.page(which, before=values["cursor"], among=AMONG, limit=_ROWS)
    words = words_of(visit)
    chosen = {name: kept[name] for name in ("operation", "status") if name in kept}
    return {
        "fault": fault,
        "status": 200 if fault is None else 422,
        "rows": [(row, words.get(row.operation, row.operation)) for row in found],
        "choices": [
            (label, visit.here(**{"operation": None, "status": None, "cursor": None, **query}), query == chosen)
            for label, query in _CHIPS
        ],
        "operations": sorted(words.items(), key=lambda pair: pair[1]),
        "since": _SINCE,
        "filters": {name: value for name, value in kept.items() if name not in ("cursor", "limit")},
        "newest": visit.here(cursor=None) if visit.asked("cursor") else None,
        "more": None if more is None else visit.here(cursor=cursor_of(more)),
        "searched": AMONG if searched else None,
    }


def words_of(visit: Visit) -> Mapping[str, str]:
    """What each operation is, in words; those that are written down, as they change something."""
    routes = (route for route in visit.request.app.routes if isinstance(route, APIRoute))
    told = {
        route.operation_id: str(route.summary)
        for route in routes
        if route.operation_id and route.include_in_schema and (route.methods or set()) - {"GET", "HEAD"}
    }
    return {**told, **_OF_KEYS}


PAGE = Page("/admin/audit", "audit.html", read, Scope.AUDIT_READ, "Audit log", "u", Group.ENGINE)
