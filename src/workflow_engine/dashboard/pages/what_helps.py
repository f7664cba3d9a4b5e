"""What helps a task that does not go on: what can be done at once, and the pages that show more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from workflow_engine.access import Scope
from workflow_engine.dashboard.actions import Action, Field
from workflow_engine.dashboard.page import RESUME
from workflow_engine.dashboard.pages.overview import RECOVER
from workflow_engine.dashboard.visit import Visit
from workflow_engine.records import Reason
from workflow_engine.states import TaskStatus

_ON_OTHER_PAGES: Mapping[str, tuple[str, str]] = {
    "no_worker_for_type": ("Workers", "/admin/workers"),
    "worker_dead": ("Workers", "/admin/workers"),
    "claimable": ("Workers", "/admin/workers"),
    "rate_reached": ("Locks and limits", "/admin/locks"),
    "deadlock": ("Locks and limits", "/admin/locks"),
}
_ON_OWN_TABS: Mapping[str, tuple[str, str]] = {
    "waiting_dependency": ("Graph", "graph"),
    "waiting": ("Tasks", "tasks"),
    "running": ("Timeline", "timeline"),
}


def pages_about(visit: Visit, reason: Reason) -> Sequence[tuple[str, str]]:
    """The pages that help, by what their links say, where a command would only show what they show."""
    if reason.reason in _ON_OTHER_PAGES:
        label, path = _ON_OTHER_PAGES[reason.reason]
        return [(label, visit.url(path))]
    if reason.reason in _ON_OWN_TABS:
        label, tab = _ON_OWN_TABS[reason.reason]
        return [(label, visit.url(f"/admin/workflows/{reason.workflow_id}", tab=tab))]
    details = reason.details
    holders = details.get("holders") or [{}]
    others = {
        "lock_held": ("The one that holds it", holders[0].get("workflow_id")),
        "limit_full": ("The one that has held it longest", holders[0].get("workflow_id")),
        "queued": ("The one that runs", (details.get("running") or [None])[0]),
        "waiting_child": ("The child", details.get("workflow_id")),
    }
    label, other = others.get(reason.reason, ("", None))
    return [(label, visit.url(f"/admin/workflows/{other}", tab="why"))] if other else []


def _send_signal(reason: Reason) -> Action:
    name = reason.details["name"]
    return Action(
        "Send signal",
        f"/workflows/{reason.workflow_id}/signal/{quote(name, safe='')}",  # an input may say what it is called
        Scope.WORKFLOWS_SIGNAL,
        "Sent.",
        ask=f"Sends the signal {name} to this workflow.",
        fields=(Field("payload", "Payload", "whole", "json", value="{}", help="As JSON."),),
    )


def _skip_wait(reason: Reason) -> Action:
    return Action(
        "Skip the wait",
        f"/tasks/{reason.task_id}/skip",
        Scope.WORKFLOWS_CONTROL,
        "Skipped: the workflow goes on.",
        ask="The task succeeds now instead of waiting any longer, and what comes after it goes on.",
        fields=(
            Field("output", "Output", kind="json", help="As JSON. Leave empty for none."),
            Field("reason", "Reason", help="Shown among the events and in the audit log."),
        ),
    )


def _resume(reason: Reason) -> Action:
    return Action("Resume", f"/workflows/{reason.workflow_id}/resume", Scope.WORKFLOWS_CONTROL, "Resumed.")


def _try_now(reason: Reason) -> Action:
    return Action("Try now", f"/tasks/{reason.task_id}/retry", Scope.WORKFLOWS_CONTROL, "It is being tried again.")


_ACTIONS: Mapping[tuple[str, str | None], Callable[[Reason], Action]] = {
    ("waiting_signal", None): _send_signal,
    ("waiting_until", None): _skip_wait,
    ("workflow_paused", None): _resume,
    ("engine_paused", None): lambda _: RESUME,
    ("lost_wakeup", None): lambda _: RECOVER,
    ("lease_expired", None): lambda _: RECOVER,
    ("scheduled", TaskStatus.SCHEDULED): _try_now,
}


def actions_about(reason: Reason) -> Sequence[Action]:
    """What helps, where it can be done at once."""
    return [
        make(reason)
        for (name, status), make in _ACTIONS.items()
        if name == reason.reason and status in (None, reason.status)
    ]
