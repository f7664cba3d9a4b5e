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

_NO_REASON = "Cancelled on request."  # as the error of a workflow says that nobody gave one


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
        "cancelled": _cancelled(workflow),
        "state": "paused" if workflow.paused_at and not ended else workflow.status,
        "tabs": [(each.key, each.title, visit.url(f"/admin/workflows/{workflow.id}", tab=each.key)) for each in tabs],
        "tab": tab.key,
        "actions": [*_actions(workflow)],
        # When it has ended there is nothing to listen to, but for what somebody has it do again.
        "stream": "" if ended else visit.url(f"/api/v1/workflows/{workflow.id}/events", after=last),
        **await tab.read(visit, workflow),
    }


def _cancelled(workflow: Workflow) -> Mapping[str, str | None] | None:
    """Who cancelled it and why, as far as they said so; None: nobody did."""
    error = workflow.error or {}
    if error.get("type") != "cancelled" or WorkflowStatus.CANCELLED not in (workflow.status, workflow.ending):
        return None
    reason = error.get("message")
    return {"by": (error.get("details") or {}).get("by"), "reason": None if reason == _NO_REASON else reason}


def _actions(workflow: Workflow) -> Iterator[Action]:
    path = f"/workflows/{workflow.id}"
    control = Scope.WORKFLOWS_CONTROL
    if workflow.status == WorkflowStatus.FAILED:
        yield Action("Retry", f"{path}/retry", control, "Retried. Tasks that run again: {tasks}.")
    elif workflow.status == WorkflowStatus.CANCELLED:
        ask = "It was cancelled. Retrying it runs everything that had not finished; what succeeded is kept."
        done = "Retried. Tasks that run again: {tasks}."
        yield Action("Retry", f"{path}/retry", control, done, ask=ask, query={"force": "true"})
    if workflow.status not in TERMINAL_WORKFLOW_STATUSES:
        if workflow.paused_at:
            yield Action("Resume", f"{path}/resume", control, "Resumed.")
        else:
            yield Action(
                "Pause",
                f"{path}/pause",
                control,
                "Paused: none of its tasks are started.",
                ask="No more of its tasks are started until somebody resumes it. Tasks that are running may finish.",
                fields=(Field("reason", "Reason", help="Shown on its page and in the audit log."),),
            )
        yield Action(
            "Cancel",
            f"{path}/cancel",
            control,
            "Its status is now {status}.",
            ask="The workflow ends now. Tasks that are running are told to stop and their results are discarded; child"
            " workflows are cancelled too.",
            destroys=True,
            fields=(Field("reason", "Reason", help="Shown on its page and in the audit log."),),
        )
    yield Action(
        "Run again",
        f"{path}/rerun",
        Scope.WORKFLOWS_START,
        "Started as a new workflow.",
        ask="A new workflow starts, with the results of all steps before the one you name; this workflow stays as"
        " it is. Whatever the steps do outside, such as sending mail, they do once more.",
        fields=(
            Field("from", "From step", help="Leave empty to start from the beginning."),
            Field("input", "Other input", kind="json", help="As JSON. Leave empty to use the same input."),
        ),
        goes_to="/admin/workflows/{id}",
    )
    if workflow.status != WorkflowStatus.SUCCEEDED and workflow.pinned_version is not None:
        yield Action(
            "Unpin",
            f"{path}/pin",
            control,
            "Unpinned; it is on version {version}.",
            ask="A pending workflow returns to the version it was started with at once. One that has begun keeps the"
            " version it is on.",
            method="DELETE",
        )
    if workflow.status != WorkflowStatus.SUCCEEDED:
        yield Action(
            "Pin version",
            f"{path}/pin",
            control,
            "Pinned to version {pinned_version}.",
            ask="A pending workflow switches to that version at once; one that has begun does so when it is retried.",
            fields=(Field("version", "Version", "query", "number", value=str(workflow.latest_version), required=True),),
        )


PAGE = Page(PATH, "workflow.html", read, Scope.WORKFLOWS_READ)
