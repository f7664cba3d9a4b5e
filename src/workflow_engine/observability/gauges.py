"""Gauges read from Postgres: the same on every engine, so aggregate them with `max`, never with `sum`.

`workflow_queue_depth` and `workflow_pending_duration_seconds` carry no labels: alerts name them bare.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from workflow_engine.records import Gauges

STALE_SECONDS = 30.0
"""Age from which a reading is not exported any more: no value is better than one that says what was."""

_QUEUE_STATES = ("pending", "scheduled", "held", "running")


class DatabaseGauges(Collector):
    """Exports the last reading while it is recent."""

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self._last: Gauges | None = None

    @property
    def age(self) -> float:
        """Seconds since the last reading; infinite before the first."""
        return time.monotonic() - self._read_at

    def update(self, gauges: Gauges) -> None:
        self._last, self._read_at = gauges, time.monotonic()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        if self._last is not None and self.age < STALE_SECONDS:
            yield from families(self._last)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """What may be exported, without values."""
        return list(families(Gauges([], 0, 0.0, {}, 0, False, 0, 0, 0, 0.0, 0.0)))


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
