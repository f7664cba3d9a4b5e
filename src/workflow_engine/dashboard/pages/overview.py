"""/admin: what is wrong, within ten seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup

from workflow_engine.access import Scope
from workflow_engine.dashboard.actions import Action, Field
from workflow_engine.dashboard.charts import chart
from workflow_engine.dashboard.formats import lasting
from workflow_engine.dashboard.left import Left, left_by
from workflow_engine.dashboard.page import PAUSE, Group, Page
from workflow_engine.dashboard.visit import Visit
from workflow_engine.dashboard.words import reason_in_words
from workflow_engine.observability.alert_rules import threshold
from workflow_engine.observability.alerts import summary_of
from workflow_engine.records import OrphanedTask, ScheduleCounts, Worker
from workflow_engine.store.overview import MOST

QUEUE_LONG = int(threshold("QueueBacklog"))
"""Pending tasks from which the runbook asks for more workers."""
QUEUE_FULL = threshold("QueueBacklogCritical")
STUCK_SECONDS = int(threshold("WorkflowStuckCritical"))
"""For so long a workflow may be pending, by the runbook."""

_HOUR = 3600.0
_LINES = 8
_WORKERS = 50
_DEAD = 10  # of them, the last that died: however many have, those that live are seen
LOAD_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Need:
    """Something that wants attention.

    Attributes:
        level: `bad` or `warn`.
        text: What is wrong.
        help: What it means, or what to do.
        url: Where it is looked at.
        actions: What mends it.
        alert: The alert that is about it, whose page says what to do.
    """

    level: str
    text: str
    help: str = ""
    url: str | None = None
    actions: Sequence[Action] = ()
    alert: str = ""


async def read(visit: Visit) -> Mapping[str, Any]:
    store = visit.store
    now, hour = datetime.now(UTC), timedelta(seconds=_HOUR)
    # One after the other: pages must not take the connections that starts wait for.
    load = await visit.glance.kept("load", LOAD_SECONDS, store.overview.load)
    failures = await store.overview.failures(limit=_LINES)
    failed = await store.overview.failed(seconds=_HOUR)
    oldest = await store.overview.oldest(limit=_LINES)
    dead, workers = await store.workers.list(dead=True), await store.workers.list()
    left = await left_by(store, dead)
    orphans = await store.orphans.list(grace_seconds=visit.settings.lease_seconds)
    gauges = visit.gauges
    slots = sum(worker.concurrency for worker in workers if worker.status == "active")
    return {
        "depth": chart([(at.at, at.pending) for at in load], hour, now, limit=QUEUE_LONG),
        "ended": chart([(at.at, at.ended_per_minute) for at in load], hour, now),
        "needs": _with_alerts(
            visit, [*_needs(visit, dead, left, orphans, now), *_refused(visit, await store.schedules.counts())]
        ),
        "failures": failures,
        "failed": failed,
        "most": MOST,
        "oldest": [(workflow, reason_in_words(workflow.pending_reason)) for workflow in oldest],
        "workers": [*reversed(dead[-_DEAD:]), *workers][:_WORKERS],
        "all_workers": len(dead) + len(workers),
        "left": left,
        "slots": slots,
        "busy": sum(len(worker.current_tasks) for worker in workers if worker.status == "active"),
        "pending": sum(queue.pending for queue in gauges.queues),
        "scheduled": sum(queue.scheduled for queue in gauges.queues),
        "wait": max((queue.oldest_pending_seconds for queue in gauges.queues if queue.pending), default=0.0),
        "retry": {workflow.id: retry(str(workflow.id)) for workflow in failures},
        "pause": PAUSE,
    }


def retry(workflow_id: str) -> Action:
    return Action(
        "Retry", f"/workflows/{workflow_id}/retry", Scope.WORKFLOWS_CONTROL, "Retried. Tasks that run again: {tasks}."
    )


RECOVER = Action(
    "Recover",
    "/workflows/recover-orphaned",
    Scope.WORKFLOWS_CONTROL,
    "Recovered. Workflows that could not be recovered are left as they were.",
    ask="Tasks of workers that are gone are taken back and run again. The leader does this by itself when their"
    " leases end.",
)


_STUCK = {"status": "pending", "until": f"{STUCK_SECONDS}s"}
WAKE_STUCK = Action(
    "Wake them",
    "/workflows/bulk/retry",
    Scope.WORKFLOWS_CONTROL,
    "Woken: {done}. Refused: {refused}.",
    ask="Gives them new jobs where theirs were lost. Those that wait for a worker, or are held by a pause, wait on.",
    query=_STUCK,
    of_many=True,
)
CANCEL_STUCK = Action(
    "Cancel them",
    "/workflows/bulk/cancel",
    Scope.WORKFLOWS_CONTROL,
    "Cancelled: {done}. Refused: {refused}.",
    ask="Cancels all workflows that have been pending for more than an hour. None of their tasks has run.",
    destroys=True,
    query=_STUCK,
    fields=(Field("reason", "Reason", help="Shown on their pages and in the audit log."),),
    of_many=True,
)


def _with_alerts(visit: Visit, needs: Sequence[Need]) -> list[Need]:
    """What is wrong, the worst first; with the alerts that fire and that none of it says already."""
    told = {need.alert for need in needs}
    more = (
        Need("bad" if alert.severity == "critical" else "warn", f"{summary_of(alert)}.", alert=alert.name)
        for alert in visit.alerts
        if alert.name not in told
    )
    return sorted([*more, *needs], key=lambda need: need.level != "bad")


def _wanted(left: Left, now: datetime) -> bool:
    """Whether it is to be told what a dead worker held: what was taken back long ago has others care for it."""
    return bool(left.open) or (left.last_at is not None and left.last_at > now - timedelta(seconds=_HOUR))


def _needs(
    visit: Visit, dead: Sequence[Worker], left: Mapping[int, Left], orphans: Sequence[OrphanedTask], now: datetime
) -> Iterator[Need]:
    gauges = visit.gauges
    workers = visit.url("/admin/workers")
    if not gauges.workers.get("active"):
        yield Need(
            "bad",
            "No worker is active: nothing is run.",
            "Start one: workflow-engine worker",
            workers,
            alert="AllWorkersDown",
        )
    for queue in gauges.queues:
        url = visit.url(f"/admin/queues/{queue.queue}")
        if queue.pending and not queue.slots:
            tasks = "1 task is" if queue.pending == 1 else f"{queue.pending:,} tasks are"
            yield Need(
                "bad",
                f"No active worker serves queue {queue.queue}; {tasks} pending.",
                "",
                url,
                alert="WorkflowQueueUnserved",
            )
        elif queue.pending > QUEUE_LONG:
            text = f"Queue {queue.queue} has {queue.pending:,} pending tasks."
            backlog = "QueueBacklogCritical" if queue.pending > QUEUE_FULL else "QueueBacklog"
            yield Need("warn", text, "Add workers.", url, alert=backlog)
    for worker in [worker for worker in reversed(dead) if _wanted(left[worker.id], now)][:5]:
        its = left[worker.id]
        text = Markup("Worker {} died; it held {}, {}.").format(worker.name, its.count, its.back)
        told = (
            ["It goes on when its lease ends." if its.open == 1 else "They go on when their leases end."]
            if its.open
            else []
        )
        failed = [f"{its.failed:,} failed since."] if its.failed else []
        yield Need("warn", text, " ".join(told + failed), workers)
    if orphans:
        workflows = len({task.workflow_id for task in orphans})
        text = f"{workflows:,} {'workflow is' if workflows == 1 else 'workflows are'} orphaned: no worker runs them."
        yield Need(
            "bad", text, "", visit.url(f"/admin/workflows/{orphans[0].workflow_id}"), (RECOVER,), "WorkflowsOrphaned"
        )
    if gauges.pending_workflow_seconds > STUCK_SECONDS:
        url = visit.url("/admin/workflows", status="pending", until="1h", sort="oldest")
        longest = lasting(gauges.pending_workflow_seconds)
        text = f"Workflows have been pending for more than an hour, the oldest for {longest}."
        yield Need(
            "bad", text, "The page of each workflow says why.", url, (WAKE_STUCK, CANCEL_STUCK), "WorkflowStuckCritical"
        )
    if gauges.outbox_dead:
        text = f"{gauges.outbox_dead:,} {'delivery' if gauges.outbox_dead == 1 else 'deliveries'} failed for good."
        yield Need(
            "warn",
            text,
            "They can be sent again.",
            visit.url("/admin/outbox", status="dead"),
            alert="WorkflowDeliveriesFailing",
        )
    if gauges.approvals_open:
        wait = "approval waits" if gauges.approvals_open == 1 else "approvals wait"
        text = f"{gauges.approvals_open:,} {wait} for people."
        yield Need("warn", text, "", visit.url("/admin/approvals"))


def _refused(visit: Visit, schedules: ScheduleCounts) -> Iterator[Need]:
    if schedules.failed:
        text = "schedule could" if schedules.failed == 1 else "schedules could"
        url = visit.url("/admin/schedules", state="refused")
        yield Need(
            "warn",
            f"{schedules.failed:,} {text} not start what was due.",
            "Its page says why.",
            url,
            alert="WorkflowScheduleFailing",
        )


PAGE = Page("/admin", "overview.html", read, Scope.ENGINE_READ, "Overview", "o", Group.NOW)
