"""/admin/approvals: what people are asked, what is due first on top; /admin/approvals/{id}: one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from workflow_engine.access import Scope
from workflow_engine.api import parameters
from workflow_engine.api.answers import cursor_of, read_cursor
from workflow_engine.api.parameters import Parameter, read_parameters
from workflow_engine.api.problems import invalid_parameter
from workflow_engine.dashboard.actions import Action
from workflow_engine.dashboard.answers import answers, may_answer, verb
from workflow_engine.dashboard.forms import Unfit, entries_of
from workflow_engine.dashboard.page import Group, Page
from workflow_engine.dashboard.visit import Visit
from workflow_engine.definition.faults import clipped
from workflow_engine.definition.input_schema import check_schema
from workflow_engine.errors import ApprovalNotFound, InputInvalid
from workflow_engine.records import Approval
from workflow_engine.store.pool import as_uuid

AMONG = 5000
"""So many open ones, the oldest, are looked at for the order in which they are due."""

_ROWS = 50
_CLOSED = tuple((status.capitalize(), status, None, None) for status in ("answered", "expired", "withdrawn"))
_MINE = Parameter("mine", lambda text: text == "yes", False, {}, "Only those that whoever looks may answer.", "yes")
_CURSOR = Parameter("cursor", str, "", {}, "Where the page begins.", "")
_KNOWN = (parameters.APPROVAL_STATUS, parameters.WORKFLOW_ID, _MINE, _CURSOR)


async def read(visit: Visit) -> Mapping[str, Any]:
    fault: InputInvalid | None = None
    found: Sequence[Approval] = ()
    names = visit.principal.answers_as
    values: Mapping[str, Any] = {}
    try:
        values = read_parameters(visit.request, _KNOWN)
        found = await _find(visit, values, names)
    except InputInvalid as error:
        fault = error
    shown, more = found[:_ROWS], len(found) > _ROWS
    status = ",".join(values.get("status", ()))
    mine = bool(values.get("mine"))
    chips: list[tuple[str, str | None, str | None, int | None]] = [("Open", None, None, visit.gauges.approvals_open)]
    if names is not None:
        count = await visit.store.approvals.count_open(names=names, among=AMONG)
        chips.append(("For me", None, "yes", count))
    return {
        "fault": fault,
        "status": 200 if fault is None else 422,
        "approvals": [
            (approval, may_answer(approval, visit.principal), answers(approval, visit.principal)) for approval in shown
        ],
        "choices": [
            (label, visit.here(status=value, mine=whose, cursor=None),
             status == (value or "open") and mine == bool(whose), count)
            for label, value, whose, count in (*chips, *_CLOSED)
        ],
        "open": status == "open",
        "mine": mine,
        "workflow": values.get("workflow_id"),
        "names": sorted(names or ()),
        "among": AMONG if status == "open" and visit.gauges.approvals_open > AMONG else None,
        "first": visit.here(cursor=None) if visit.asked("cursor") else None,
        "more": visit.here(cursor=_cursor(shown[-1])) if more else None,
    }  # fmt: skip


async def _find(visit: Visit, values: Mapping[str, Any], names: frozenset[str] | None) -> Sequence[Approval]:
    after = _position(values["cursor"])
    store = visit.store.approvals
    if list(values["status"]) == ["open"] and values["workflow_id"] is None:
        whose = names if values["mine"] else None
        return await store.inbox(names=whose, after=after, among=AMONG, limit=_ROWS + 1)
    return await store.list(
        status=values["status"],
        workflow_id=values["workflow_id"],
        before=after and after[1],
        brief=True,
        limit=_ROWS + 1,
    )


def _cursor(last: Approval) -> str:
    return cursor_of(f"{last.id} {last.expires_at.isoformat() if last.expires_at else ''}")


def _position(cursor: str) -> tuple[datetime | None, UUID] | None:
    """The due time and id of the last one of the page before."""
    if not cursor:
        return None
    id_, _, due = read_cursor(cursor).partition(" ")
    try:
        return datetime.fromisoformat(due) if due else None, UUID(id_)
    except ValueError as error:
        raise invalid_parameter("cursor", "is not one of these pages; begin with the first") from error


async def read_one(visit: Visit) -> Mapping[str, Any]:
    given = str(visit.request.path_params["approval_id"])
    id_ = as_uuid(given)
    if id_ is None:
        raise ApprovalNotFound(f"There is no approval {clipped(given)}.", hint="The list has those that there are.")
    approval = await visit.store.approvals.get(id_)
    schema = approval.form_schema
    if schema is not None and check_schema(schema, ""):  # as a template may have made it; the API asks for nothing then
        schema = None
    try:
        entries = entries_of(schema, pointer="/data")
    except Unfit:
        entries = ()
    free = next((each for each in approval.outcomes if schema is not None and approval.form_of(each) is None), None)
    return {
        "approval": approval,
        "entries": entries,
        "schema": schema,
        "send": Action("Answer", f"/approvals/{approval.id}", Scope.APPROVALS_ANSWER, "", body={}),
        "ways": [(outcome, verb(outcome), outcome == free) for outcome in approval.outcomes],
        # Where the form itself asks for a comment, that is it.
        "comments": None if any(entry.pointer == "/data/comment" for entry in entries) else free,
        "signed": visit.principal.name,
        "workflow": await visit.store.workflows.get(str(approval.workflow_id)),
        "may": may_answer(approval, visit.principal),
        "names": sorted(visit.principal.answers_as or ()),
    }


PAGE = Page(
    "/admin/approvals",
    "approvals.html",
    read,
    Scope.WORKFLOWS_READ,
    "Approvals",
    "i",
    Group.NOW,
    waiting=lambda visit: visit.gauges.approvals_open,
)
ONE = Page("/admin/approvals/{approval_id}", "approval.html", read_one, Scope.WORKFLOWS_READ)
