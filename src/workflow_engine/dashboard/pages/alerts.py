"""/admin/alerts: what fires, and what will unless it passes, with what to do about it; Prometheus is not needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workflow_engine.access import Scope
from workflow_engine.dashboard.actions import Action
from workflow_engine.dashboard.formats import lasting, number, size
from workflow_engine.dashboard.page import RESUME, Group, Page
from workflow_engine.dashboard.pages.outbox import RETRY_DELIVERIES
from workflow_engine.dashboard.pages.overview import CANCEL_STUCK, RECOVER, STUCK_SECONDS, WAKE_STUCK
from workflow_engine.dashboard.runbooks import runbook
from workflow_engine.dashboard.visit import Visit
from workflow_engine.errors import NotFound
from workflow_engine.observability.alert_rules import ELSEWHERE, RULES, Condition, Rule, Unit, numbers
from workflow_engine.observability.alerts import at_present, condition_of, follows, summary_of
from workflow_engine.records import Alert, Measures

PATH = "/admin/alerts"
_ENDED = 20


@dataclass(frozen=True, slots=True)
class Look:
    """Where an alert is looked at: what the link says, the page with its filters, and the scope that it takes."""

    label: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    scope: Scope = Scope.ENGINE_READ

    def url(self, visit: Visit) -> str:
        return visit.url(self.path, **self.query)


_WORKERS = Look("Workers", "/admin/workers")
_ENGINES = Look("Engines", "/admin/settings")
_QUEUES = Look("Queues", "/admin/queues")
_TASK_TYPES = Look("Task types, slowest first", "/admin/task-types")
_STUCK = Look(
    "Pending for over an hour",
    "/admin/workflows",
    {"status": "pending", "until": f"{STUCK_SECONDS}s", "sort": "oldest"},
    Scope.WORKFLOWS_READ,
)
_FAILED = {"status": "failed", "since": "24h"}
# By name, the most telling first.
_LOOK: Mapping[str, Sequence[Look]] = {
    "AllWorkersDown": (_WORKERS,),
    "WorkflowWorkersDown": (_WORKERS,),
    "WorkflowNoLeader": (_ENGINES,),
    "WorkflowStuckCritical": (_STUCK, _QUEUES),
    "WorkflowStuck": (_STUCK, _QUEUES),
    "QueueBacklogCritical": (_QUEUES, _WORKERS),
    "QueueBacklog": (_QUEUES, _WORKERS),
    "HighQueueDepth": (_QUEUES, _WORKERS),
    "HighTaskLatency": (_TASK_TYPES,),
    "WorkerLoopBlocked": (_WORKERS, _TASK_TYPES),
    "WorkerRestarting": (_WORKERS,),
    "WorkerMemoryNearLimit": (_WORKERS,),
    "WorkflowFailureRate": (
        Look("Failed workflows", "/admin/workflows", _FAILED, Scope.WORKFLOWS_READ),
        Look("Task types, failing first", "/admin/task-types", {"sort": "failing"}),
        Look("Definitions, with their success rates", "/admin/definitions", scope=Scope.DEFINITIONS_READ),
    ),
    "TaskThroughputLow": (_QUEUES, _WORKERS, _TASK_TYPES),
    "WorkflowQueueUnserved": (_QUEUES, _WORKERS),
    "WorkflowQueueMirrorStale": (_QUEUES,),
    "EnginePausedLong": (Look("Who paused it", "/admin/audit", {"operation": "engine_pause"}, Scope.AUDIT_READ),),
    "EngineSlow": (_ENGINES,),
    "EngineDown": (_ENGINES,),
    "WorkflowEngineDown": (_ENGINES,),
    "EngineOverloaded": (_ENGINES,),
    "WorkflowPoolExhausted": (_ENGINES,),
    "WorkflowPostgresAway": (_ENGINES,),
    "WorkflowApiErrors": (
        Look("Requests that failed", "/admin/audit", {"status": "500"}, Scope.AUDIT_READ),
        _ENGINES,
    ),
    "WorkflowAuditRowsLost": (Look("Audit log", "/admin/audit", scope=Scope.AUDIT_READ), _ENGINES),
    "WorkflowTransactionHeldOpen": (_ENGINES,),
    "WorkflowsOrphaned": (_WORKERS,),
    "WorkflowDeadlock": (Look("Locks", "/admin/locks", scope=Scope.WORKFLOWS_READ),),
    "WorkflowScheduleFailing": (
        Look("Refused schedules", "/admin/schedules", {"state": "refused"}, Scope.WORKFLOWS_READ),
    ),
    "WorkflowDeliveriesFailing": (Look("Outbox", "/admin/outbox", scope=Scope.WORKFLOWS_READ),),
}
_RETRY_FAILED = Action(
    "Retry what failed",
    "/workflows/bulk/retry",
    Scope.WORKFLOWS_CONTROL,
    "Retried: {done}. Refused: {refused}.",
    ask="Retries the workflows of the last 24 hours that failed: what failed in them runs again, and what succeeded"
    " is kept."
    " They fail again unless the cause has been fixed.",
    query=_FAILED,
    of_many=True,
)
_MENDS: Mapping[str, Sequence[Action]] = {
    "EnginePausedLong": (RESUME,),
    "WorkflowsOrphaned": (RECOVER,),
    "WorkflowStuckCritical": (WAKE_STUCK, CANCEL_STUCK),
    "WorkflowStuck": (WAKE_STUCK, CANCEL_STUCK),
    "WorkflowFailureRate": (_RETRY_FAILED,),
    "WorkflowDeliveriesFailing": (RETRY_DELIVERIES,),
}
_TOGETHER = "\N{NO-BREAK SPACE}"
_THAN = {">": "more than", "<": "less than", "=": ""}


@dataclass(frozen=True, slots=True)
class Shown:
    """An alert as a row has it.

    Attributes:
        summary: What is wrong.
        says: The same with its numbers.
        page: What it means and what to do.
        look: Where it is looked at: what each page is called, and its address.
        mends: What can be done at once.
        after: Alerts that fire, too, and from which this one only follows.
    """

    alert: Alert
    summary: str
    says: str
    page: str
    look: Sequence[tuple[str, str]]
    mends: Sequence[Action]
    after: Sequence[str]


async def read(visit: Visit) -> Mapping[str, Any]:
    watched = visit.watched
    present = at_present(watched)
    shown = [*show(visit, present)]
    return {
        "firing": [each for each in shown if each.alert.state == "firing"],
        "pending": [each for each in shown if each.alert.state != "firing"],
        "ended": [*show(visit, await visit.store.alerts.ended(limit=_ENDED))],
        "rules": [(rule, *_rule(rule, watched.measures)) for rule in RULES.values()],
        "elsewhere": ELSEWHERE,
        "looked_at": watched.at,
        "page_of": lambda name: visit.url(f"{PATH}/{name}"),
    }


async def read_one(visit: Visit) -> Mapping[str, Any]:
    name = str(visit.request.path_params["name"])
    rule, text = RULES.get(name), runbook(name)
    if rule is None and name not in ELSEWHERE and text is None:
        raise NotFound("There is no such alert.", hint="/admin/alerts has all there are.")
    watched = visit.watched
    mine = [alert for alert in at_present(watched) if alert.name == name]
    return {
        "name": name,
        "rule": rule,
        "conditions": _rule(rule, watched.measures)[0] if rule is not None else [],
        "elsewhere": ELSEWHERE.get(name),
        "alerts": [*show(visit, mine, among=at_present(watched))],
        "ended": await visit.store.alerts.ended(name=name, limit=_ENDED),
        "look": _look(visit, name),
        "mends": _MENDS.get(name, ()),
        "runbook": text,
    }


def show(visit: Visit, alerts: Sequence[Alert], among: Sequence[Alert] | None = None) -> Iterator[Shown]:
    """Alerts as pages show them."""
    firing = {alert.name for alert in (alerts if among is None else among) if alert.state == "firing"}
    for alert in alerts:
        condition = condition_of(alert)
        says = "" if condition is None else sentence(condition, alert)
        yield Shown(
            alert, summary_of(alert), says, visit.url(f"{PATH}/{alert.name}"), _look(visit, alert.name),
            _MENDS.get(alert.name, ()), sorted(firing.intersection(follows(alert))),
        )  # fmt: skip


def sentence(condition: Condition, alert: Alert) -> str:
    """What is wrong, with its numbers."""
    threshold = written(condition.threshold, condition.unit)
    value = written(alert.value, condition.unit)
    return condition.says.format(value=value, threshold=threshold, subject=alert.subject)


def written(value: float | None, unit: Unit) -> str:
    """A number in its unit."""
    if value is None:
        return "–"
    if unit == "seconds":
        return lasting(value).replace(" ", _TOGETHER)
    if unit == "bytes":
        return size(int(value)).replace(" ", _TOGETHER)
    if unit == "share":
        return f"{100 * value:.3g}{_TOGETHER}%"
    return number(value) if value == int(value) or value >= 100 else f"{value:.1f}"


def _look(visit: Visit, name: str) -> list[tuple[str, str]]:
    return [(look.label, look.url(visit)) for look in _LOOK.get(name, ()) if visit.may(look.scope)]


def _rule(rule: Rule, measures: Measures) -> tuple[list[tuple[str, str, bool]], str]:
    """Each condition of a rule in words, what is found of it now, and whether it holds; for how long it must."""
    told = []
    for condition in rule.conditions:
        limit = f"{_THAN[condition.than]} {written(condition.threshold, condition.unit)}".strip()
        if condition.than == ">" and not condition.threshold:
            limit = "any"
        found = numbers(measures, condition.measure)
        now = written(max((value for _, value in found), default=None), condition.unit)
        holds = any(True for _ in condition.among(measures))
        told.append((f"{_MEASURES.get(condition.measure, condition.measure)}: {limit}", now, holds))
    return told, lasting(rule.seconds) if rule.seconds else "at once"


_MEASURES: Mapping[str, str] = {
    "workers_active": "active workers",
    "looked_seconds": "time since the leader last looked",
    "pending_workflow_seconds": "age of the oldest pending workflow",
    "pending": "pending tasks",
    "attempt_seconds": "mean time of attempts, 15 minutes",
    "workers_died": "workers that died, 10 minutes",
    "failed_share": "share of workflows that failed, 1 hour, of 10 or more",
    "ended_per_minute": "attempts that ended a minute, while over 100 tasks wait",
    "unserved": "pending tasks of a queue that nobody serves",
    "mirror_seconds": "age of the list in Redis",
    "mirror_excess": "error of its length, when over a tenth",
    "paused_seconds": "time for which the engine is paused",
    "loop_lag_seconds": "lag of an engine's event loop",
    "api_errors_ago": "time since the last internal error",
    "pool_timeouts_ago": "time since a statement got no connection",
    "workers_full": "memory of workers that take no more tasks because of it",
    "orphaned": "orphaned workflows",
    "deadlocks_ago": "time since a deadlock was found",
    "schedules_refused": "schedules whose last start was refused, 1 hour",
    "outbox_seconds": "age of the oldest delivery",
    "given_up": "deliveries given up, 1 hour",
    "transaction_seconds": "age of the oldest transaction",
    "default_rows": "rows without a partition",
    "invariant_violations": "rows that break an invariant",
    "audit_rows_lost_ago": "time since rows were lost",
    "active_per_engine": "active workflows for each engine",
}

PAGE = Page(
    PATH,
    "alerts.html",
    read,
    Scope.ENGINE_READ,
    "Alerts",
    "a",
    Group.NOW,
    waiting=lambda visit: len(visit.alerts),
)
ONE = Page(f"{PATH}/{{name}}", "alert.html", read_one, Scope.ENGINE_READ)
