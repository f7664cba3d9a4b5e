"""/admin/schedules: what starts by itself, and when; /admin/schedules/{name}: one of them, and what it started."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID
from zoneinfo import ZoneInfo

from workflow_engine.access import Scope
from workflow_engine.api import parameters
from workflow_engine.api.answers import cursor_of
from workflow_engine.api.parameters import Parameter, read_parameters
from workflow_engine.api.schedule_views import next_times
from workflow_engine.dashboard.actions import Action, Field, Trial
from workflow_engine.dashboard.page import Group, Page
from workflow_engine.dashboard.visit import Visit
from workflow_engine.errors import InputInvalid
from workflow_engine.records import Schedule, WorkflowFilter, WorkflowSummary

_ROWS = 50
_TIMES = 6
_STARTS = 10
_LATE = timedelta(minutes=1)
_STATES = (("All", None), ("Paused", "paused"), ("Refused", "refused"))


def _state(text: str) -> str | None:
    if text not in ("", "paused", "refused"):
        raise ValueError("write paused or refused")
    return text or None


_KNOWN = (
    Parameter("state", _state, None, {}, "Only those in this state.", "paused"),
    Parameter("name", str, "", {}, "Only those whose names begin so.", "data"),
    parameters.page(_ROWS, by_name=True)[1],
)


@dataclass(frozen=True, slots=True)
class DueTime:
    """When an entry is due, as its clocks show it."""

    at: datetime
    entry: Schedule

    @property
    def wall(self) -> str:
        return f"{self.at.astimezone(ZoneInfo(self.entry.timezone)):%a %d %b %H:%M}"

    @property
    def utc(self) -> str:
        return f"{self.at.astimezone(UTC):%a %d %b %H:%M}"


@dataclass(frozen=True, slots=True)
class Line:
    """A schedule in the list."""

    first: Schedule
    others: int  # entries beside it
    next: DueTime | None
    late: bool  # it should have started by now
    last: Schedule | None  # the entry that started last
    workflow: WorkflowSummary | None  # what it started
    error: str | None
    started: int
    passed_over: Sequence[str]
    actions: Sequence[Action]


async def read(visit: Visit) -> Mapping[str, Any]:
    fault: InputInvalid | None = None
    entries: Sequence[Schedule] = ()
    values: Mapping[str, Any] = {}
    store = visit.store
    try:
        values = read_parameters(visit.request, _KNOWN)
    except InputInvalid as error:
        fault = error
    else:
        entries = await store.schedules.page(
            paused=values["state"] == "paused",
            failed=values["state"] == "refused",
            prefix=values["name"].strip(),
            after=values["cursor"] or "",
            limit=_ROWS + 1,
        )
    counts = await store.schedules.counts()
    named = [(name, list(its)) for name, its in itertools.groupby(entries, lambda entry: entry.name)]
    shown = named[:_ROWS]
    last = [entry.last_workflow_id for _, its in shown for entry in its if entry.last_workflow_id]
    workflows = {w.id: w for w in await store.search.list(WorkflowFilter(ids=last), limit=len(last))} if last else {}
    now = datetime.now(UTC)
    number = {"paused": counts.paused, "refused": counts.failed}
    return {
        "fault": fault,
        "status": 200 if fault is None else 422,
        "lines": [_line(its, workflows, now, paused=visit.gauges.paused) for _, its in shown],
        "choices": [
            (label, visit.here(state=state, cursor=None), values.get("state") == state,
             number.get(state or "", counts.total))
            for label, state in _STATES
        ],
        "filtered": bool(values.get("state") or values.get("name")),
        "first": visit.here(cursor=None) if visit.asked("cursor") else None,
        "more": visit.here(cursor=cursor_of(shown[-1][0])) if len(named) > _ROWS else None,
    }  # fmt: skip


def _line(
    entries: Sequence[Schedule], workflows: Mapping[UUID, WorkflowSummary], now: datetime, *, paused: bool
) -> Line:
    due = next(iter(_due(entries, 1)), None)
    last = max((entry for entry in entries if entry.last_at), key=lambda entry: entry.last_at or now, default=None)
    return Line(
        entries[0],
        len(entries) - 1,
        due,
        late=due is not None and not paused and due.at < now - _LATE,
        last=last,
        workflow=workflows.get(last.last_workflow_id) if last and last.last_workflow_id else None,
        error=next((entry.last_error for entry in entries if entry.last_error), None),
        started=sum(entry.started for entry in entries),
        passed_over=_passed_over(entries),
        actions=[*_steering(entries[0])],
    )


def _passed_over(entries: Sequence[Schedule]) -> list[str]:
    """How many due times started nothing, and why."""
    counts = (
        (sum(entry.skipped for entry in entries), "skipped"),
        (sum(entry.missed for entry in entries), "missed"),
    )
    return [f"{count:,} {word}" for count, word in counts if count]


def _due(entries: Sequence[Schedule], most: int) -> list[DueTime]:
    """The next due times of all entries, the first ones first."""

    def of(entry: Schedule) -> Iterator[DueTime]:
        return (DueTime(at, entry) for at in next_times(entry))

    # No more are worked out than are shown.
    return [*itertools.islice(heapq.merge(*map(of, entries), key=lambda due: due.at), most)]


def _steering(entry: Schedule) -> Iterator[Action]:
    path = f"/schedules/{quote(entry.name, safe='')}"
    if entry.paused_at is not None:
        yield Action(
            "Resume", f"{path}/resume", Scope.WORKFLOWS_CONTROL, "Resumed: it starts again at its next due time."
        )
    else:
        yield Action(
            "Pause", f"{path}/pause", Scope.WORKFLOWS_CONTROL, "Paused: it starts nothing until it is resumed."
        )
    yield Action(
        "Run now",
        f"{path}/run",
        Scope.WORKFLOWS_START,
        "Started.",
        ask="Starts one workflow now, with the input of the first entry, even if the previous one is still running. The"
        " due times stay as they are.",
        goes_to="/admin/workflows/{id}",
    )


def _backfill(name: str) -> Action:
    path = f"/schedules/{quote(name, safe='')}"
    return Action(
        "Backfill",
        f"{path}/backfill",
        Scope.WORKFLOWS_START,
        "Backfilled: {length} due times have their workflows.",
        ask="Starts a workflow for each past due time that has none: for all of them or, if one is refused, for none."
        " They run one after the other unless overlap is allowed.",
        fields=(
            Field(
                "from",
                "From",
                "query",
                "duration",
                required=True,
                hint="7d",
                help="Such as 7d, or 2026-01-31T00:00:00Z.",
            ),
            Field("until", "Until", "query", "duration", help="Up to this time. Leave empty for now."),
        ),
        trial=Trial(
            f"{path}/due-times",
            "{missing} would be started: of {total} due times from {first} to {last}, {started} already have a"
            " workflow.",
            counts="missing",
        ),
    )


async def read_one(visit: Visit) -> Mapping[str, Any]:
    name = str(visit.request.path_params["name"])
    entries = await visit.store.schedules.get(name)
    first = entries[0]
    due = _due(entries, _TIMES)
    now = datetime.now(UTC)
    return {
        "name": name,
        "schedule": first,
        "entries": entries,
        "due": due,
        "late": bool(due) and not visit.gauges.paused and due[0].at < now - _LATE,
        "starts": await visit.store.schedules.starts(name, limit=_STARTS),
        "actions": [*_steering(first), _backfill(name)],
        "errors": [entry for entry in entries if entry.last_error],
    }


PAGE = Page("/admin/schedules", "schedules.html", read, Scope.WORKFLOWS_READ, "Schedules", "c", Group.WORK)
ONE = Page("/admin/schedules/{name}", "schedule.html", read_one, Scope.WORKFLOWS_READ)
