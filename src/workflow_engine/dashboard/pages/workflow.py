"""/admin/workflows/{id}: one workflow: what became of it, why it does not go on, and what can be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workflow_engine.access import Scope
from workflow_engine.dashboard.actions import Action, Field
from workflow_engine.dashboard.page import Page
from workflow_engine.dashboard.pages import workflow_tabs
from workflow_engine.dashboard.visit import Visit
from workflow_engine.dashboard.words import reason_in_words
from workflow_engine.records import Workflow
from workflow_engine.states import TERMINAL_WORKFLOW_STATUSES, WorkflowStatus

PATH = "/admin/workflows/{workflow_id}"


async def read(visit: Visit) -> Mapping[str, Any]:
    workflow_id = str(visit.request.path_params["workflow_id"])
    last = await visit.store.history.last_event(workflow_id)  # before all else: what comes later is told
    workflow = await visit.store.workflows.get(workflow_id)
    tabs = [tab for tab in workflow_tabs.TABS if visit.may(tab.scope)]
    tab = next((tab for tab in tabs if tab.key == visit.asked("tab")), tabs[0])
    ended = workflow.status in TERMINAL_WORKFLOW_STATUSES
    return {
        "workflow": workflow,
        "ended": ended,
        "why": None if ended else reason_in_words(workflow.pending_reason),
        "state": "paused" if workflow.paused_at and not ended else workflow.status,
        "tabs": [(each.key, each.title, visit.url(f"/admin/workflows/{workflow.id}", tab=each.key)) for each in tabs],
        "tab": tab.key,
        "actions": [*_actions(workflow)],
        # When it has ended there is nothing to listen to, but for what somebody has it do again.
        "stream": "" if ended else visit.url(f"/api/v1/workflows/{workflow.id}/events", after=last),
        **await tab.read(visit, workflow),
    }


def _actions(workflow: Workflow) -> Iterator[Action]:
    path = f"/workflows/{workflow.id}"
    control = Scope.WORKFLOWS_CONTROL
    if workflow.status == WorkflowStatus.FAILED:
        yield Action("Retry", f"{path}/retry", control, "It goes on: {tasks} tasks run again.")
    elif workflow.status == WorkflowStatus.CANCELLED:
        ask = "It was cancelled. What had not ended runs after all; what succeeded is kept."
        done = "It goes on: {tasks} tasks run again."
        yield Action("Retry", f"{path}/retry", control, done, ask=ask, query={"force": "true"})
    if workflow.status not in TERMINAL_WORKFLOW_STATUSES:
        if workflow.paused_at:
            yield Action("Resume", f"{path}/resume", control, "It goes on.")
        else:
            yield Action("Pause", f"{path}/pause", control, "Nothing more of it is begun; what runs may end.")
        yield Action(
            "Cancel",
            f"{path}/cancel",
            control,
            "It is {status}.",
            ask="It ends now: tasks that run are told to stop, their results are void, and its children are cancelled.",
            destroys=True,
            fields=(Field("reason", "Why", help="It is kept with the workflow."),),
        )
    yield Action(
        "Run again",
        f"{path}/rerun",
        Scope.WORKFLOWS_START,
        "It runs again, as a workflow of its own.",
        ask="A new workflow begins with the results of the steps before the one named; this one stays as it is."
        " What steps do outside they do once more.",
        fields=(
            Field("from", "From step", help="Empty: from the beginning."),
            Field("input", "Another input", kind="json", help="As JSON; empty: the same."),
        ),
        goes_to="/admin/workflows/{id}",
    )
    if workflow.status != WorkflowStatus.SUCCEEDED and workflow.pinned_version is not None:
        yield Action(
            "Unpin",
            f"{path}/pin",
            control,
            "It is on version {version}, and pinned to none.",
            ask="A pending workflow goes back to the version it was started with at once; one that has begun goes on"
            " with what it has.",
            method="DELETE",
        )
    if workflow.status != WorkflowStatus.SUCCEEDED:
        yield Action(
            "Pin version",
            f"{path}/pin",
            control,
            "It is pinned to version {pinned_version}.",
            ask="A pending workflow goes on with that version at once, others when a retry starts them again.",
            fields=(Field("version", "Version", "query", "number", value=str(workflow.latest_version)),),
        )


PAGE = Page(PATH, "workflow.html", read, Scope.WORKFLOWS_READ)
