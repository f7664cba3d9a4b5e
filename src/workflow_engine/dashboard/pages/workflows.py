"""/admin/workflows: which there are, by filters that stand in the address; retried and cancelled in bulk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.datastructures import QueryParams

from workflow_engine.access import Scope
from workflow_engine.api import parameters
from workflow_engine.api.answers import cursor_of
from workflow_engine.api.parameters import read_parameters
from workflow_engine.dashboard.actions import Action, Field
from workflow_engine.dashboard.page import GoTo, Page
from workflow_engine.dashboard.visit import Visit
from workflow_engine.dashboard.words import reason_in_words
from workflow_engine.errors import InputInvalid
from workflow_engine.records import WorkflowSummary
from workflow_engine.states import TERMINAL_WORKFLOW_STATUSES
from workflow_engine.store.overview import MOST
from workflow_engine.store.pool import as_uuid

AMONG = 20_000
"""So many workflows are looked through for one page; what is rarer is found by going on."""

_ROWS = 50
_EXPLAINED = 20  # live ones of a page: what keeps one takes some milliseconds to find out
_DAY = 86_400.0
_COUNT_SECONDS = 5.0
_NAMES_SECONDS = 10.0
_MOST_NAMES = 300
_KNOWN = (*parameters.FILTERS, parameters.PARENT, *parameters.page(_ROWS))
_SINCE = (("", "any time"), ("1h", "an hour"), ("24h", "a day"), ("7d", "a week"), ("30d", "a month"))
_CHIPS = (
    ("All", None),
    ("Pending", "pending"),
    ("Running", "running"),
    ("Failed", "failed"),
    ("Cancelled", "cancelled"),
    ("Succeeded", "succeeded"),
)


async def read(visit: Visit) -> Mapping[str, Any] | GoTo:
    if (elsewhere := _elsewhere(visit)) is not None:
        return elsewhere
    fault: InputInvalid | None = None
    found: list[WorkflowSummary] = []
    more, searched = None, False
    values: Mapping[str, Any] = {}
    try:
        values = read_parameters(visit.request, _KNOWN)
    except InputInvalid as error:
        fault = error
    else:
        found, more, searched = await _find(visit, values)
    live = [workflow.id for workflow in found if workflow.status not in TERMINAL_WORKFLOW_STATUSES]
    explained = live[:_EXPLAINED]
    reasons = await visit.store.overview.reasons(explained) if explained else {}
    counts = await visit.glance.kept(
        "workflow counts", _COUNT_SECONDS, lambda: visit.store.overview.counts(seconds=_DAY)
    )
    names = await visit.glance.kept(
        "definition names", _NAMES_SECONDS, lambda: visit.store.definitions.list(limit=_MOST_NAMES)
    )
    status = visit.asked("status") or None
    labels = {name: value for name, value in visit.request.query_params.items() if name.startswith("label.")}
    filters = _filters(visit.request.query_params)
    counted = {"pending": counts.pending, "running": counts.running, "failed": counts.failed}
    return {
        "fault": fault,
        "status": 200 if fault is None else 422,
        "workflows": found,
        "why": {id_: reason_in_words(reasons.get(id_)) for id_ in explained},
        "chips": [
            {"label": label, "url": visit.here(status=value, cursor=None), "on": status == value,
             "count": counted.get(value or ""), "note": "of the last day" if value == "failed" else ""}
            for label, value in _CHIPS
        ],
        "both": status == "pending,running",
        "most": MOST,
        "names": [definition.name for definition in names],
        "since": _SINCE,
        "labels": [
            (name.removeprefix("label."), value, visit.here(**{name: None, "cursor": None}))
            for name, value in labels.items()
        ],
        "parent": visit.asked("parent"),
        "filters": filters,
        "newest": visit.here(cursor=None) if visit.asked("cursor") else None,
        "more": None if more is None else visit.here(cursor=cursor_of(more)),
        "searched": AMONG if searched else None,
        "chosen": (_cancel({}, chosen=True), _retry({}, chosen=True)),
        "all_of_them": [*_bulk(filters, values.get("status") or ())] if filters and fault is None else [],
    }  # fmt: skip


def _elsewhere(visit: Visit) -> GoTo | None:
    """What was put into the search field, or a form with empty fields, has an address of its own."""
    given = visit.request.query_params
    sought = visit.asked("q").strip()
    if sought.isascii() and sought.isdecimal():
        return GoTo(visit.url(f"/admin/tasks/{sought}"))
    if sought and as_uuid(sought):
        return GoTo(visit.url(f"/admin/workflows/{sought}"))
    if sought:
        return GoTo(visit.url("/admin/workflows", name=sought))
    kept = {name: value for name, value in given.multi_items() if value.strip() and name not in ("q", "label")}
    name, _, value = visit.asked("label").partition("=")
    if name.strip() and value.strip():
        kept[f"label.{name.strip()}"] = value.strip()
    return None if kept.keys() == given.keys() else GoTo(visit.url("/admin/workflows", **kept))


async def _find(visit: Visit, values: Mapping[str, Any]) -> tuple[list[WorkflowSummary], Any, bool]:
    """The workflows of a page, where the next one begins, and whether it is there because not all were looked at."""
    store = visit.store.workflows
    found = await store.list(
        status=values["status"],
        name=values["name"],
        labels=values["label.*"],
        since=values["since"],
        until=values["until"],
        parent=values["parent"],
        before=values["cursor"],
        among=AMONG,
        limit=_ROWS + 1,
    )
    if len(found) > _ROWS:
        return found[:_ROWS], found[_ROWS - 1].id, False
    further = await store.look_from(status=values["status"], before=values["cursor"], among=AMONG)
    return found, further, further is not None


def _filters(given: QueryParams) -> dict[str, str]:
    """Those that the API takes for many workflows at once."""
    return {
        name: value
        for name, value in given.multi_items()
        if name in ("status", "name", "since", "until") or name.startswith("label.")
    }


def _bulk(filters: Mapping[str, str], status: Sequence[str]) -> Iterator[Action]:
    if not status or set(status) & {"failed", "pending"}:
        yield _retry(filters)
    if not status or set(status) & {"pending", "running"}:
        yield _cancel(filters)


def _retry(filters: Mapping[str, str], *, chosen: bool = False) -> Action:
    return Action(
        "Retry" if chosen else "Retry all that match",
        "/workflows/bulk/retry",
        Scope.WORKFLOWS_CONTROL,
        "{done} go on; {refused} could not.",
        ask="What failed in the {selected} selected workflows runs again; what succeeded is kept."
        if chosen
        else "What failed in them runs again; what succeeded is kept.",
        query=filters,
        of_many=not chosen,
    )


def _cancel(filters: Mapping[str, str], *, chosen: bool = False) -> Action:
    return Action(
        "Cancel" if chosen else "Cancel all that match",
        "/workflows/bulk/cancel",
        Scope.WORKFLOWS_CONTROL,
        "{done} are cancelled; {refused} could not be.",
        ask="The {selected} selected workflows end now: tasks that run are told to stop, and their results are void."
        if chosen
        else "They end now: tasks that run are told to stop, and their results are void.",
        destroys=True,
        query=filters,
        fields=(Field("reason", "Why", help="It is kept with each of them."),),
        of_many=not chosen,
    )


PAGE = Page("/admin/workflows", "workflows.html", read, Scope.WORKFLOWS_READ, "Workflows", "w")
