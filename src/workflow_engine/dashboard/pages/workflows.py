"""/admin/workflows: which there are, by filters that stand in the address; retried and cancelled in bulk."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.datastructures import QueryParams

from workflow_engine.access import Scope
from workflow_engine.api import parameters
from workflow_engine.api.answers import cursor_of
from workflow_engine.api.parameters import read_parameters
from workflow_engine.dashboard.actions import Action, Field
from workflow_engine.dashboard.formats import number
from workflow_engine.dashboard.page import GoTo, Group, Page
from workflow_engine.dashboard.visit import Visit
from workflow_engine.dashboard.words import reason_in_words
from workflow_engine.errors import InputInvalid, NotFound
from workflow_engine.records import WorkflowFilter, WorkflowSummary
from workflow_engine.states import TERMINAL_WORKFLOW_STATUSES, WorkflowStatus
from workflow_engine.store.pool import as_uuid

AMONG = 20_000
"""So many workflows are looked through for one page; what is rarer is found by going on."""

_AMONG_IDS = 50_000
"""So many are looked through for the end of an id: of those little more than an index is read."""

_SHORT_ID = re.compile("…?([0-9a-f]{12})")  # the filter `short` of the templates
_ROWS = 50
_EXPLAINED = 20  # live ones of a page: what keeps one takes some milliseconds to find out
_COUNT_SECONDS = 5.0
_NAMES_SECONDS = 10.0
_MOST_NAMES = 300
_KNOWN = (*parameters.FILTERS, parameters.PARENT, parameters.ORDER, *parameters.page(_ROWS))
_SINCE = (("", "any time"), ("1h", "an hour"), ("24h", "a day"), ("7d", "a week"), ("30d", "a month"))
_TOOK = (("", "any time"), ("1m", "a minute"), ("10m", "10 minutes"), ("1h", "an hour"), ("24h", "a day"))
_ORDERS = (("newest", "newest first"), ("oldest", "oldest first"), ("longest", "longest first"))


_STATES = (
    WorkflowStatus.PENDING,
    WorkflowStatus.RUNNING,
    WorkflowStatus.FAILED,
    WorkflowStatus.CANCELLED,
    WorkflowStatus.SUCCEEDED,
)
_LIVE = (WorkflowStatus.PENDING.value, WorkflowStatus.RUNNING.value)
_IN_FORM = ("name", "since", "min_duration", "sort")
_NO_FILTERS = ("status", "cursor", "sort", "limit")


async def read(visit: Visit) -> Mapping[str, Any] | GoTo:
    names = await visit.glance.kept(
        "definition names", _NAMES_SECONDS, lambda: visit.store.definitions.list(limit=_MOST_NAMES)
    )
    known = [definition.name for definition in names]
    if sought := visit.asked("q").strip():
        return GoTo(await _find(visit, sought, known))
    if (elsewhere := _elsewhere(visit)) is not None:
        return elsewhere
    fault: InputInvalid | None = None
    found: Sequence[WorkflowSummary] = ()
    more, searched = None, False
    which, order = WorkflowFilter(), "newest"
    counts: Mapping[str, tuple[int, bool]] = {}
    try:
        values = read_parameters(visit.request, _KNOWN)
    except InputInvalid as error:
        fault = error
    else:
        which, order = parameters.workflow_filter(values, parent=values["parent"]), values["sort"]
        page = await visit.store.search.page(which, before=values["cursor"], among=AMONG, limit=_ROWS, order=order)
        found, more, searched = page.workflows, page.further, page.is_cut
        counts = await _counts(visit, which)
    live = [workflow.id for workflow in found if workflow.status not in TERMINAL_WORKFLOW_STATUSES]
    explained = live[:_EXPLAINED]
    reasons = await visit.store.overview.reasons(explained) if explained else {}
    given = visit.request.query_params
    filters = _filters(given)
    exported = {**filters, **{name: given[name] for name in ("parent", "sort") if given.get(name)}}
    return {
        "fault": fault,
        "status": 200 if fault is None else 422,
        "workflows": found,
        "why": {id_: reason_in_words(reasons.get(id_)) for id_ in explained},
        "chips": _chips(visit, counts),
        "names": known,
        "since": _choices(_SINCE, visit.asked("since"), "since {}"),
        "took": _choices(_TOOK, visit.asked("min_duration"), "{}"),
        "orders": _choices(_ORDERS, visit.asked("sort", "newest"), "{}"),
        "without": [*_without(visit)],
        "hidden": [(name, value) for name, value in given.multi_items() if name not in (*_IN_FORM, "cursor", "label")],
        "filters": filters,
        "exported": exported,
        # All that there are have no order by how long they ran: that is one of those that were looked at.
        "as_table": {name: value for name, value in exported.items() if (name, value) != ("sort", "longest")},
        "newest": visit.here(cursor=None) if visit.asked("cursor") else None,
        "beginning": visit.here(name=f"{which.name}*", cursor=None)
        if which.name and not which.name.endswith("*")
        else None,
        "more": None if more is None else visit.here(cursor=cursor_of(more)),
        "searched": AMONG if searched else None,
        "order": order,
        "chosen": (_cancel({}, chosen=True), _retry({}, chosen=True)),
        "all_of_them": [*_bulk(filters, which.status)] if filters and fault is None and not which.parent else [],
    }


async def _find(visit: Visit, sought: str, names: Sequence[str]) -> str:
    """The address of what was put into the search field.

    Args:
        names: Of definitions; what is none of them is taken for the beginning of one.

    Raises:
        NotFound: It is the end of an id, and of none that was looked at.
    """
    short = _SHORT_ID.fullmatch(sought.lower())
    named = any(name.startswith(sought) for name in names)
    if short and not named:
        found = await visit.store.search.by_end(short[1], among=_AMONG_IDS)
        if found is not None:
            return visit.url(f"/admin/workflows/{found}")
    if sought.isascii() and sought.isdecimal():
        return visit.url(f"/admin/tasks/{sought}")
    if short and not named:
        raise NotFound(
            f"No workflow whose id ends in {short[1]} is among the newest {number(_AMONG_IDS)}, or among as many that"
            " have not ended or that failed.",
            hint="Its whole id finds any workflow; lists show it where the short one is pointed at.",
        )
    if as_uuid(sought):
        return visit.url(f"/admin/workflows/{sought}")
    if sought in names:
        return visit.url("/admin/workflows", name=sought)
    return visit.url("/admin/workflows", name=f"{sought.rstrip('*')}*")


def _elsewhere(visit: Visit) -> GoTo | None:
    """A form with empty fields has an address of its own."""
    given = visit.request.query_params
    kept: dict[str, str] = {}
    for name, value in given.multi_items():
        if value.strip() and name not in ("q", "label"):
            # States may be given one by one; in one place they are the same for the list, its numbers and its buttons.
            kept[name] = f"{kept[name]},{value}" if name == "status" and name in kept else value
    name, _, value = visit.asked("label").partition("=")
    if name.strip() and value.strip():
        kept[f"label.{name.strip()}"] = value.strip()
    return None if kept == dict(given.multi_items()) else GoTo(visit.url("/admin/workflows", **kept))


async def _counts(visit: Visit, which: WorkflowFilter) -> Mapping[str, tuple[int, bool]]:
    """How many of each state meet the other filters; kept for those who look at the same."""
    those = sorted((name, value) for name, value in visit.request.query_params.multi_items() if name not in _NO_FILTERS)
    return await visit.kept(
        f"workflows of {those}", _COUNT_SECONDS, lambda: visit.store.search.counts(which, among=AMONG)
    )


def _chips(visit: Visit, counts: Mapping[str, tuple[int, bool]]) -> list[Mapping[str, Any]]:
    chosen = visit.asked("status")
    live = [counts[status] for status in _LIVE if status in counts]
    known = {**counts, ",".join(_LIVE): (sum(count for count, _ in live), any(more for _, more in live))}
    chips = [("All", ""), ("Live", ",".join(_LIVE)), *((status.value.capitalize(), status.value) for status in _STATES)]
    return [
        {"label": label, "on": chosen == value, "count": known.get(value, (0, False)),
         "url": visit.here(status=value or None, cursor=None)}
        for label, value in chips
    ]  # fmt: skip


def _choices(known: Sequence[tuple[str, str]], chosen: str, otherwise: str) -> list[tuple[str, str, bool]]:
    """The options of a choice: what was asked for in the address by another value is one, too."""
    further = [] if chosen in dict(known) else [(chosen, otherwise.format(chosen))]
    return [(value, label, value == chosen) for value, label in (*known, *further)]


def _without(visit: Visit) -> Iterator[tuple[str, str]]:
    """Filters that have no field of their own, and the address without each."""
    for name, value in visit.request.query_params.multi_items():
        if name.startswith("label."):
            yield f"{name.removeprefix('label.')}={value}", visit.here(**{name: None, "cursor": None})
        elif name == "version":
            yield f"version {value}", visit.here(version=None, cursor=None)
        elif name in ("until", "max_duration"):
            said = "created before" if name == "until" else "ran at most"
            yield f"{said} {value}", visit.here(**{name: None, "cursor": None})
        elif name == "parent":
            yield f"children of {value[-12:]}", visit.here(parent=None, cursor=None)


def _filters(given: QueryParams) -> dict[str, str]:
    """Those that the API takes for many workflows at once."""
    known = {parameter.name for parameter in parameters.FILTERS}
    return {name: value for name, value in given.multi_items() if name in known or name.startswith("label.")}


def _bulk(filters: Mapping[str, str], status: Sequence[str]) -> Iterator[Action]:
    if not status or set(status) & {"failed", "pending"}:
        yield _retry(filters)
    if not status or set(status) & {"pending", "running"}:
        yield _cancel(filters)


def _which(chosen: bool) -> str:
    return "the {selected}" if chosen else "all workflows that match the filters"


def _retry(filters: Mapping[str, str], *, chosen: bool = False) -> Action:
    return Action(
        "Retry" if chosen else "Retry all that match",
        "/workflows/bulk/retry",
        Scope.WORKFLOWS_CONTROL,
        "Retried: {done}. Refused: {refused}.",
        ask=f"Retries {_which(chosen)}: what failed in them runs again, and what succeeded is kept.",
        query=filters,
        of_many=not chosen,
    )


def _cancel(filters: Mapping[str, str], *, chosen: bool = False) -> Action:
    return Action(
        "Cancel" if chosen else "Cancel all that match",
        "/workflows/bulk/cancel",
        Scope.WORKFLOWS_CONTROL,
        "Cancelled: {done}. Refused: {refused}.",
        ask=f"Ends {_which(chosen)} now: running tasks are told to stop, and their results are discarded.",
        destroys=True,
        query=filters,
        fields=(Field("reason", "Reason", help="Shown on their pages and in the audit log."),),
        of_many=not chosen,
    )


PAGE = Page("/admin/workflows", "workflows.html", read, Scope.WORKFLOWS_READ, "Workflows", "w", Group.WORK)
