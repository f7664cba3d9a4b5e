"""Gauges read from Postgres: the same on every engine, so aggregate them with `max`, never with `sum`.

`workflow_queue_depth` and `workflow_pending_duration_seconds` carry no labels: alerts name them bare.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from workflow_engine.observability.labels import Labels
from workflow_engine.records import Gauges, WorkflowGauges
from workflow_engine.states import WorkflowStatus

STALE_SECONDS = 30.0
"""Age from which a reading is not exported any more: no value is better than one that says what was."""

_FRESH_SECONDS = 2.0
_SHARE = 20
"""Reading may take one part in so many of the time."""
_QUEUE_STATES = ("pending", "scheduled", "held", "running")

T = TypeVar("T")


class Reading(Generic[T]):
    """The last answer to one question, and how old it is."""

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self._took = 0.0
        self._last: T | None = None

    @property
    def age(self) -> float:
        """Seconds since it was read; infinite before the first time."""
        return time.monotonic() - self._read_at

    @property
    def due(self) -> bool:
        """Whether to read again: what is dear to read is read less often."""
        return self.age > min(max(_FRESH_SECONDS, _SHARE * self._took), STALE_SECONDS / 2)

    @property
    def recent(self) -> T | None:
        """What was read, unless it is too old to be shown."""
        return self._last if self.age < STALE_SECONDS else None

    def update(self, answer: T, took: float) -> None:
        """Remember what was read, which took so many seconds."""
        self._last, self._took, self._read_at = answer, took, time.monotonic()


class DatabaseGauges(Collector):
    """Exports the last readings while they are recent.

    Attributes:
        engine: Where the engine stands.
        workflows: Where the live workflows stand.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self.engine = Reading[Gauges]()
        self.workflows = Reading[WorkflowGauges]()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        if (engine := self.engine.recent) is not None:
            yield from families(engine)
        if (workflows := self.workflows.recent) is not None:
            yield from workflow_families(workflows, self._labels)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """What may be exported, without values."""
        return [
            *families(Gauges([], 0, 0.0, {}, 0, False, 0, 0, 0, 0.0, 0.0, 0)),
            *workflow_families(WorkflowGauges({}, 0, 0, 0, {}, {}), self._labels),
        ]


def families(gauges: Gauges) -> Iterator[GaugeMetricFamily]:
    """A reading as metrics."""
    yield GaugeMetricFamily(
        "workflow_queue_depth", "Tasks that are pending, in all queues", sum(q.pending for q in gauges.queues)
    )
    tasks = GaugeMetricFamily(
        "workflow_queue_tasks", "Tasks of a queue that have not ended and are not blocked", labels=["queue", "state"]
    )
    oldest = GaugeMetricFamily(
        "workflow_oldest_pending_task_age_seconds",
        "Age of the task that has been pending for longest",
        labels=["queue"],
    )
    slots = GaugeMetricFamily(
        "workflow_worker_slots", "Slots of active workers that serve a queue; one may serve several", labels=["queue"]
    )
    for queue in gauges.queues:
        for state in _QUEUE_STATES:
            tasks.add_metric([queue.queue, state], getattr(queue, state))
        oldest.add_metric([queue.queue], queue.oldest_pending_seconds)
        slots.add_metric([queue.queue], queue.slots)
    yield from (tasks, oldest, slots)
    yield GaugeMetricFamily(
        "workflow_pending_duration_seconds",
        "Age of the oldest workflow of which nothing was claimed yet; 0 if there is none",
        gauges.pending_workflow_seconds,
    )
    yield GaugeMetricFamily("workflow_active_workflows", "Workflows that have not ended", gauges.active_workflows)
    workers = GaugeMetricFamily("workflow_workers", "Registered workers by state", labels=["state"])
    for state, count in gauges.workers.items():
        workers.add_metric([state], count)
    yield workers
    yield GaugeMetricFamily("workflow_locks_held", "Locks that a task or a workflow holds", gauges.locks_held)
    yield GaugeMetricFamily("workflow_engine_paused", "1 while nothing new is accepted and started", gauges.paused)
    yield GaugeMetricFamily("workflow_approvals_open", "Approvals that nobody has answered", gauges.approvals_open)
    outbox = GaugeMetricFamily(
        "workflow_outbox", "What workflows emitted and is not delivered: pending, or given up", labels=["state"]
    )
    outbox.add_metric(["pending"], gauges.outbox_pending)
    outbox.add_metric(["dead"], gauges.outbox_dead)
    yield outbox
    yield GaugeMetricFamily(
        "workflow_outbox_pending_age_seconds",
        "Age of the oldest emitted signal or webhook that is not delivered yet; 0 if there is none",
        gauges.outbox_pending_seconds,
    )
    yield GaugeMetricFamily(
        "workflow_oldest_transaction_age_seconds",
        "Age of the oldest transaction on the database that keeps what has ended from being cleaned up",
        gauges.oldest_transaction_seconds,
    )


def workflow_families(gauges: WorkflowGauges, labels: Labels) -> Iterator[GaugeMetricFamily]:
    """A reading of the live workflows as metrics."""
    workflows = GaugeMetricFamily("workflow_workflows", "Workflows that have not ended, by state", labels=["state"])
    for status in (WorkflowStatus.PENDING, WorkflowStatus.RUNNING):
        workflows.add_metric([status], gauges.workflows.get(status, 0))
    yield workflows
    yield GaugeMetricFamily("workflow_workflows_paused", "Live workflows that somebody has paused", gauges.paused)
    yield GaugeMetricFamily("workflow_orphaned_workflows", "Live workflows that nobody moves any more", gauges.orphaned)
    yield GaugeMetricFamily("workflow_definitions", "Definitions that can be started", gauges.definitions)
    versions = GaugeMetricFamily(
        "workflow_definition_versions_active",
        "Versions of a definition of which a workflow has not ended",
        labels=["definition"],
    )
    counts: dict[str, int] = {}
    for name, count in gauges.versions.items():
        label = labels.of(name)
        counts[label] = counts.get(label, 0) + count
    for label, count in counts.items():
        versions.add_metric([label], count)
    yield versions
    used = GaugeMetricFamily(
        "workflow_worker_slots_used",
        "Slots in use of the active workers that serve a queue; one may serve several",
        labels=["queue"],
    )
    for queue, count in gauges.slots_used.items():
        used.add_metric([queue], count)
    yield used
