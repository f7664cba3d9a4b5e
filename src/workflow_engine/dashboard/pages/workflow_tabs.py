"""The tabs of a workflow's page. Each reads what it shows and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from markupsafe import Markup

from workflow_engine.access import Scope
from workflow_engine.api import views
from workflow_engine.api.answers import cursor_of, read_cursor
from workflow_engine.api.dag import AT_ONCE, Dag
from workflow_engine.api.log_lines import log_lines
from workflow_engine.dashboard.actions import Action, Field
from workflow_engine.dashboard.answers import answers
from workflow_engine.dashboard.pages.audit import words_of
from workflow_engine.dashboard.pages.what_helps import actions_about, pages_about
from workflow_engine.dashboard.timeline import timeline
from workflow_engine.dashboard.visit import Visit
from workflow_engine.definition.drawing.picture import UNREACHED, Box, Picture
from workflow_engine.definition.drawing.svg import draw_in_page
from workflow_engine.errors import InputInvalid
from workflow_engine.records import Attempt, AuditFilter, LockPlace, Reason, Task, Workflow

MOST_DRAWN = 300
"""Steps of a graph that is drawn; with more it is a list, by state."""

_TASKS = 200  # of a page
_ATTEMPTS = 2000  # of a page, but in any case so many of each task:
_ATTEMPTS_OF_EACH = 10
_ATTEMPTS_OF_ONE = 200
_EVENTS = 300
_REASONS = 200
_ASKED_FOR = 100
_FAILED_FIRST = (
    "failed", "running", "pending", "scheduled", "waiting", "blocked", UNREACHED, "cancelled", "skipped", "succeeded",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tab:
    key: str
    title: str
    read: Callable[[Visit, Workflow], Awaitable[Mapping[str, Any]]]
    scope: Scope = Scope.WORKFLOWS_READ


async def _graph(visit: Visit, workflow: Workflow) -> Mapping[str, Any]:
    steps = await visit.store.workflows.graph(str(workflow.id))
    asked = visit.asked("step")

    def work_out() -> tuple[dict[str, Any], Picture, str]:
        dag = Dag(f"{workflow.name} v{workflow.version}", steps)
        data, picture = dag.data(), dag.picture()
        return data, picture, "" if len(picture.boxes) > MOST_DRAWN else draw_in_page(picture, link, asked)

    def link(box: Box) -> str:
        return visit.here(tab="graph", step=box.id)

    small = len(steps) <= AT_ONCE
    data, picture, drawing = work_out() if small else await visit.in_thread(work_out)
    node = next((node for node in data["nodes"] if node["id"] == asked), None)
    by_state: dict[str, list[Mapping[str, Any]]] = {status: [] for status in _FAILED_FIRST}
    if is_large := len(picture.boxes) > MOST_DRAWN:
        for each in data["nodes"]:
            by_state[UNREACHED if each["upstream_failed"] else each["status"] or "blocked"].append(each)
    panel = {} if node is None or node["task_id"] is None else await _task_panel(visit, workflow, int(node["task_id"]))
    return {
        "drawing": Markup(drawing),  # noqa: S704 (all texts in it are escaped)
        "large": len(picture.boxes) if is_large else None,
        "by_state": {status: nodes for status, nodes in by_state.items() if nodes},
        "node": node,
        "waiting_on": data["waiting_on"].get(asked, []),
        "signs": Counter(box.kind for box in picture.boxes if box.status),
        "panel": panel,
    }


async def _timeline(visit: Visit, workflow: Workflow) -> Mapping[str, Any]:
    tasks, more = await _page_of_tasks(visit, workflow)
    attempts = await _attempts_of(visit, workflow, tasks)
    now = datetime.now(UTC)
    begun = min([workflow.created_at, *(a.pending_since or a.started_at for a in attempts[:1])])
    drawn = timeline(attempts, begun, max(workflow.finished_at or now, begun), tasks)
    return {
        "timeline": drawn if drawn.rows else None,
        "unreached": sum(task.is_unreached for task in tasks),
        "more": more,
    }


async def _tasks(visit: Visit, workflow: Workflow) -> Mapping[str, Any]:
    tasks, more = await _page_of_tasks(visit, workflow)
    asked = visit.asked("task")
    panel = await _task_panel(visit, workflow, int(asked)) if asked.isdecimal() and len(asked) < 19 else {}
    return {"tasks": tasks, "more": more, "panel": panel}


async def _page_of_tasks(visit: Visit, workflow: Workflow) -> tuple[Sequence[Task], str | None]:
    try:
        position = read_cursor(visit.asked("cursor") or cursor_of(-1))
        after = int(position)
    except (InputInvalid, ValueError):
        after = -1
    found = await visit.store.workflows.tasks(str(workflow.id), after=after, limit=_TASKS + 1)
    more = visit.here(cursor=cursor_of(found[_TASKS - 1].id)) if len(found) > _TASKS else None
    return found[:_TASKS], more


async def _attempts_of(visit: Visit, workflow: Workflow, tasks: Sequence[Task]) -> list[Attempt]:
    """The attempts of a page of tasks: the last ones of each, as one may have been tried for days."""
    each = max(_ATTEMPTS // max(len(tasks), 1), _ATTEMPTS_OF_EACH)
    return await visit.store.history.attempts(str(workflow.id), tasks=[task.id for task in tasks], each=each)


async def _task_panel(visit: Visit, workflow: Workflow, task_id: int) -> Mapping[str, Any]:
    """One task with its attempts, and what can be done about it; nothing, if it is another workflow's."""
    task = await visit.store.tasks.get(task_id)
    if task.workflow_id != workflow.id:
        return {}
    attempts = await visit.store.history.attempts(str(workflow.id), tasks=[task.id], each=_ATTEMPTS_OF_ONE)
    return {"task": task, "attempts": attempts, "actions": _task_actions(workflow, task)}


def _task_actions(workflow: Workflow, task: Task) -> list[Action]:
    control = Scope.WORKFLOWS_CONTROL
    force = {"force": "true"} if workflow.status == "cancelled" else {}
    found = []
    if task.status in ("failed", "cancelled", "pending", "scheduled"):
        found.append(
            Action(
                "Retry this task",
                f"/tasks/{task.id}/retry",
                control,
                "Retried, with whatever depends on it.",
                ask="The task runs again, and so does whatever could not run because of it. Other tasks that failed"
                " are not retried.",
                query=force,
                fields=(
                    Field(
                        "timeout",
                        "Timeout",
                        "query",
                        "duration",
                        hint="10m",
                        help="90s, 10m, 1h30m; a number alone is seconds. Leave empty to keep it.",
                    ),
                ),
            )
        )
    if task.status in ("failed", "pending", "scheduled", "waiting", "blocked"):
        found.append(
            Action(
                "Skip this task",
                f"/tasks/{task.id}/skip",
                control,
                "Skipped: it has succeeded with that output.",
                ask="The task succeeds without being run, with the output you give, and what waits for it goes on.",
                fields=(
                    Field("output", "Output", kind="json", value="{}", help="As JSON."),
                    Field("reason", "Reason", help="Shown among the events and in the audit log."),
                ),
            )
        )
    if "[" not in task.path and "." not in task.path:
        found.append(
            Action(
                "Run again from here",
                f"/workflows/{workflow.id}/rerun",
                Scope.WORKFLOWS_START,
                "Started as a new workflow.",
                ask="A new workflow starts with the results of all steps before this one; this one stays as it is.",
                body={"from": task.step},
                fields=(
                    Field("input", "Other input", kind="json", help="As JSON. Leave empty to use the same input."),
                ),
                goes_to="/admin/workflows/{id}",
            )
        )
    return found


async def _log(visit: Visit, workflow: Workflow) -> Mapping[str, Any]:
    events = await visit.store.history.log(str(workflow.id), limit=_EVENTS, newest=True)
    return {"lines": list(log_lines(events)), "cut": len(events) == _EVENTS, "most": _EVENTS}


async def _io(visit: Visit, workflow: Workflow) -> Mapping[str, Any]:
    return {}


async def _events(visit: Visit, workflow: Workflow) -> Mapping[str, Any]:
    events = await visit.store.history.log(str(workflow.id), limit=_EVENTS, newest=True)
    return {"events": events[::-1], "cut": len(events) == _EVENTS, "most": _EVENTS}


async def _locks(visit: Visit, workflow: Workflow) -> Mapping[str, Any]:
    def of_it(places: Sequence[LockPlace]) -> list[LockPlace]:
        return [place for place in places if place.workflow_id == workflow.id]

    locks = await visit.store.locks.of_workflow(UUID(str(workflow.id)))
    mine = [(lock, of_it(lock.holders), of_it(lock.waiters)) for lock in locks]
    release = Action(
        "Release its locks",
        f"/workflows/{workflow.id}/release-locks",
        Scope.WORKFLOWS_CONTROL,
        "Released. Running tasks that lost their lease and are tried again: {tasks}.",
        ask="Its locks go to whoever waits for them. Its tasks that run under one of them are stopped and tried again"
        " later. What they have already done outside is not undone.",
        destroys=True,
    )
    found = [each for each in mine if each[1] or each[2]]
    return {"locks": found, "release": release if any(holders for _, holders, _ in found) else None}


async def _trace(visit: Visit, workflow: Workflow) -> Mapping[str, Any]:
    tasks, more = await _page_of_tasks(visit, workflow)
    attempts = await _attempts_of(visit, workflow, tasks)
    return {"spans": [views.span(attempt, str(workflow.id)) for attempt in attempts], "more": more}


async def _why(visit: Visit, workflow: Workflow) -> Mapping[str, Any]:
    reasons = await visit.store.workflows.why(str(workflow.id), limit=_REASONS)
    asked = [UUID(reason.details["approval_id"]) for reason in reasons if reason.reason == "waiting_approval"]
    questions = {str(each.id): each for each in await visit.store.approvals.those(asked)} if asked else {}

    def helping(reason: Reason) -> Sequence[Action]:
        question = questions.get(str(reason.details.get("approval_id")))
        return actions_about(reason) if question is None else answers(question, visit.principal)

    return {
        "reasons": [(reason, helping(reason), pages_about(visit, reason)) for reason in reasons],
        "cut": len(reasons) == _REASONS,
        "most": _REASONS,
    }


async def _people(visit: Visit, workflow: Workflow) -> Mapping[str, Any]:
    words, which = words_of(visit), AuditFilter(workflow_id=UUID(str(workflow.id)))
    found, _, _ = await visit.store.audit.page(which, among=_ASKED_FOR, limit=_ASKED_FOR)
    return {"asked_for": [(row, words.get(row.operation, row.operation)) for row in found]}


TABS = (
    Tab("graph", "Graph", _graph),
    Tab("timeline", "Timeline", _timeline),
    Tab("tasks", "Tasks", _tasks),
    Tab("log", "Log", _log),
    Tab("io", "Input and output", _io),
    Tab("events", "Events", _events),
    Tab("locks", "Locks", _locks),
    Tab("trace", "Trace", _trace),
    Tab("why", "Why", _why),
    Tab("who", "Who", _people, Scope.AUDIT_READ),
)
