"""The alerts that are evaluated here, from the database: rules of `deploy/prometheus/rules`, by the same names.

A test holds them against those files, so that who has no Prometheus is told the same as who has one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from workflow_engine.records import Measures

Unit = Literal["number", "seconds", "bytes", "share"]

LOOKED_SECONDS = 30.0
"""When nobody has looked for so long, nobody leads."""
NO_LEADER = "WorkflowNoLeader"

_MINUTE = 60.0


def numbers(measures: Measures, name: str) -> list[tuple[str, float]]:
    """A measure by what it is about; nothing where it is not known."""
    found = measures.get(name)
    if found is None:
        return []
    return [*found.items()] if isinstance(found, Mapping) else [("", found)]


@dataclass(frozen=True, slots=True)
class Condition:
    """What a number is held against.

    Attributes:
        measure: Of `workflow.alert_measures`.
        than: How the number is to the threshold when the condition holds.
        threshold: What it is held against.
        says: What is wrong, with `{value}`, `{threshold}` and `{subject}`.
        unit: Of both.
        ages: The number grows with the time: how far it is beyond the threshold says since when.
        beside: Another number, which must be more than this, too.
    """

    measure: str
    than: Literal[">", "<", "="]
    threshold: float
    says: str
    unit: Unit = "number"
    ages: bool = False
    beside: tuple[str, float] | None = None

    def among(self, measures: Measures) -> Iterator[tuple[str, float]]:
        """For what it holds, and by what number."""
        if self.beside is not None:
            also, least = self.beside
            if not any(number > least for _, number in numbers(measures, also)):
                return
        for subject, number in numbers(measures, self.measure):
            holds = {">": number > self.threshold, "<": number < self.threshold, "=": number == self.threshold}
            if holds[self.than]:
                yield subject, number


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert.

    Attributes:
        name: As in the rules for Prometheus.
        severity: critical, warning or info.
        seconds: For so long a condition must hold before it fires.
        summary: What is wrong, for the whole of it.
        conditions: Any of which is enough.
        follows: While one of these fires, this is only what follows from it.
    """

    name: str
    severity: Literal["critical", "warning", "info"]
    seconds: float
    summary: str
    conditions: Sequence[Condition]
    follows: Collection[str] = ()


def _met(name: str, kind: str, minutes: float, summary: str, says: str) -> Rule:
    """Of something that engines met lately."""
    lately = Condition(f"{kind}_ago", "<", minutes * _MINUTE, says, "seconds")
    return Rule(name, "warning", 0, summary, (lately,))


_DOWN = ("AllWorkersDown",)

RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            "AllWorkersDown",
            "critical",
            2 * _MINUTE,
            "No worker takes tasks",
            (Condition("workers_active", "=", 0, "No worker is active."),),
        ),
        Rule(
            NO_LEADER,
            "critical",
            2 * _MINUTE,
            "No engine leads",
            # Nobody could note it: see at_present.
            (
                Condition(
                    "looked_seconds",
                    ">",
                    LOOKED_SECONDS,
                    "What only one does was done {value} ago: schedules, time limits and dead workers wait.",
                    "seconds",
                ),
            ),
        ),
        Rule(
            "WorkflowStuckCritical",
            "critical",
            0,
            "A workflow has been pending for over an hour",
            (
                Condition(
                    "pending_workflow_seconds",
                    ">",
                    3600,
                    "The oldest pending workflow has waited {value}.",
                    "seconds",
                    ages=True,
                ),
            ),
        ),
        Rule(
            "QueueBacklogCritical",
            "critical",
            2 * _MINUTE,
            "Over 1,000 tasks are pending",
            (Condition("pending", ">", 1000, "{value} tasks wait for a worker."),),
            _DOWN,
        ),
        Rule(
            "HighTaskLatency",
            "warning",
            10 * _MINUTE,
            "Tasks take over five minutes on average",
            (
                Condition(
                    "attempt_seconds", ">", 300, "An attempt took {value} on average in the last 15 minutes.", "seconds"
                ),
            ),
        ),
        Rule(
            "WorkerRestarting",
            "warning",
            0,
            "Workers restart again and again",
            (Condition("workers_died", ">", 3, "{value} workers went without a goodbye in ten minutes."),),
            _DOWN,
        ),
        Rule(
            "QueueBacklog",
            "warning",
            10 * _MINUTE,
            "Over 100 tasks are pending",
            (Condition("pending", ">", 100, "{value} tasks wait for a worker."),),
            (*_DOWN, "QueueBacklogCritical"),
        ),
        Rule(
            "WorkflowFailureRate",
            "warning",
            5 * _MINUTE,
            "Over a tenth of all workflows fail",
            (
                Condition(
                    "failed_share",
                    ">",
                    0.10,
                    "{value} of the workflows that ended in the last hour failed.",
                    "share",
                    beside=("workflows_ended", 9),
                ),
            ),
        ),
        Rule(
            "TaskThroughputLow",
            "warning",
            10 * _MINUTE,
            "Tasks are pending and hardly any are done",
            (
                Condition(
                    "ended_per_minute",
                    "<",
                    10,
                    "{value} attempts a minute end while over 100 tasks wait.",
                    beside=("pending", 100),
                ),
            ),
            _DOWN,
        ),
        Rule(
            "WorkflowQueueUnserved",
            "warning",
            5 * _MINUTE,
            "No worker serves the queue {subject}",
            (
                Condition(
                    "unserved",
                    ">",
                    0,
                    "Tasks that are pending in the queue {subject}, which no active worker serves: {value}.",
                ),
            ),
            _DOWN,
        ),
        Rule(
            "WorkflowQueueMirrorStale",
            "warning",
            5 * _MINUTE,
            "The pending list in Redis is not what Postgres says",
            (
                Condition("mirror_seconds", ">", 30, "It was written {value} ago; autoscalers go by it.", "seconds"),
                Condition("mirror_excess", ">", 50, "Its length is wrong by {value}; autoscalers go by it."),
            ),
        ),
        Rule(
            "EnginePausedLong",
            "warning",
            30 * _MINUTE,
            "The engine has been paused for half an hour",
            (
                Condition(
                    "paused_seconds",
                    ">",
                    0,
                    "Nothing new is accepted or started until somebody resumes it.",
                    "seconds",
                    ages=True,
                ),
            ),
        ),
        Rule(
            "EngineSlow",
            "warning",
            10 * _MINUTE,
            "An engine has more to do than it can",
            (
                Condition(
                    "loop_lag_seconds",
                    ">",
                    1,
                    "An engine's event loop is up to {value} late: every request to it waits.",
                    "seconds",
                ),
            ),
        ),
        _met(
            "WorkflowApiErrors",
            "api_errors",
            15,
            "Engines answer with internal errors",
            "The last internal error was {value} ago.",
        ),
        _met(
            "WorkflowPoolExhausted",
            "pool_timeouts",
            10,
            "Statements of engines get no connection to Postgres",
            "The last statement that waited in vain for one did so {value} ago.",
        ),
        Rule(
            "WorkerMemoryNearLimit",
            "warning",
            10 * _MINUTE,
            "A worker is near its memory limit",
            (
                Condition(
                    "workers_full",
                    ">",
                    0,
                    "{subject} uses {value}, over 85 % of what it may, and takes no more tasks.",
                    "bytes",
                ),
            ),
        ),
        Rule(
            "WorkflowsOrphaned",
            "warning",
            5 * _MINUTE,
            "Workflows are orphaned, and nobody takes them over",
            (Condition("orphaned", ">", 0, "Workflows that nobody moves: {value}. Seconds are usual."),),
            _DOWN,
        ),
        _met(
            "WorkflowDeadlock",
            "deadlocks",
            15,
            "Workflows wait for each other's locks",
            "A circle of workflows that wait for each other was found {value} ago.",
        ),
        Rule(
            "WorkflowScheduleFailing",
            "warning",
            0,
            "Schedules cannot start their workflows",
            (Condition("schedules_refused", ">", 0, "The last start of {subject} was refused."),),
        ),
        Rule(
            "WorkflowDeliveriesFailing",
            "warning",
            _MINUTE,
            "What workflows emit does not arrive",
            (
                Condition(
                    "outbox_seconds",
                    ">",
                    900,
                    "A signal or webhook has been on its way for {value}.",
                    "seconds",
                    ages=True,
                ),
                Condition("given_up", ">", 0, "Deliveries that were given up in the last hour: {value}."),
            ),
        ),
        Rule(
            "WorkflowTransactionHeldOpen",
            "warning",
            _MINUTE,
            "Somebody holds a transaction open",
            (
                Condition(
                    "transaction_seconds",
                    ">",
                    600,
                    "It has been open for {value}: turns become slower.",
                    "seconds",
                    ages=True,
                ),
            ),
        ),
        Rule(
            "WorkflowHistoryUnpartitioned",
            "warning",
            15 * _MINUTE,
            "History has no partition",
            (
                Condition(
                    "default_rows",
                    ">",
                    0,
                    "Rows of history without a partition: {value}. They cannot be dropped with one.",
                ),
            ),
        ),
        Rule(
            "WorkflowInvariantViolated",
            "warning",
            5 * _MINUTE,
            "What must always hold of the data does not",
            (
                Condition(
                    "invariant_violations",
                    ">",
                    0,
                    "Rows that break an invariant: {value}. A bug, or a hand in the tables.",
                ),
            ),
        ),
        _met(
            "WorkflowAuditRowsLost",
            "audit_rows_lost",
            15,
            "Rows of the audit log could not be kept",
            "The last were lost {value} ago; they are in the log of the engine.",
        ),
        Rule(
            "EngineOverloaded",
            "info",
            10 * _MINUTE,
            "Over 50 active workflows for each engine",
            (Condition("active_per_engine", ">", 50, "{value} active workflows for each engine."),),
        ),
    )
}
"""By their names, the most urgent first."""

ELSEWHERE: Mapping[str, str] = {
    "EngineDown": "Without an engine nobody would be here to show it.",
    "WorkflowEngineDown": "Whether an engine that is not heard of is to be there, only who scrapes it knows.",
    "WorkflowWorkersDown": "Whether a worker that is gone is to be there, only who scrapes it knows.",
    "WorkflowPostgresAway": "Pages say so themselves, in place of what they would show.",
    "WorkerLoopBlocked": "How late the event loop of a worker is, it says to who scrapes it.",
    "HighQueueDepth": "The same as QueueBacklog, once for each engine.",
    "WorkflowStuck": "The same as WorkflowStuckCritical, once for each engine.",
}
"""The alerts that only Prometheus can tell, or that say what another does: why they are not evaluated here."""


def threshold(name: str) -> float:
    """What the first condition of an alert is held against."""
    return RULES[name].conditions[0].threshold
