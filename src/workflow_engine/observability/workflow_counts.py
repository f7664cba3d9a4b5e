"""Workflows that were started and that ended, by their definition: counted by whoever leads, from the events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import Counter
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from workflow_engine.observability import metrics
from workflow_engine.observability.labels import OTHER, Labels
from workflow_engine.records import EventCounts
from workflow_engine.states import TERMINAL_WORKFLOW_STATUSES

BOUNDS = tuple(float(bound) for bound in metrics.DURATION_BUCKETS)


class Durations(Collector):
    """A histogram to which observations are added by the bucketful, as Postgres has counted them."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], list[int]] = {}
        self._sums: dict[tuple[str, str], float] = {}

    def add(self, definition: str, state: str, position: int, count: int, seconds: float) -> None:
        """Add `count` durations, of `seconds` together, to the bucket at `position`."""
        key = (definition, state)
        self._counts.setdefault(key, [0] * (len(BOUNDS) + 1))[position] += count
        self._sums[key] = self._sums.get(key, 0.0) + seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(
            "workflow_workflow_duration_seconds",
            "From the start of workflows to their end, by definition and how they ended",
            labels=["definition", "state"],
        )
        for key, counts in self._counts.items():
            below, buckets = 0, []
            for bound, count in zip((*BOUNDS, float("inf")), counts, strict=True):
                below += count
                le = floatToGoString(bound)  # type: ignore[no-untyped-call]
                buckets.append((le, below))
            family.add_metric(key, buckets, self._sums[key])
        yield family


class WorkflowCounts:
    """What this process has counted; 0 where another leads. One for the process, as all metrics are."""

    def __init__(self) -> None:
        self.labels = Labels(0)
        self.started = Counter(
            "workflow_workflows_started_total",
            "Workflows that were started, by their definition",
            ["definition"],
            registry=metrics.ENGINE,
        )
        self.ended = Counter(
            "workflow_workflows_ended_total",
            "Workflows that ended, by their definition and how; one that is retried ends again",
            ["definition", "state"],
            registry=metrics.ENGINE,
        )
        self.durations = Durations()
        metrics.ENGINE.register(self.durations)
        self._begin(OTHER)

    def admit(self, names: Iterable[str]) -> None:
        """Give definitions labels while there is room, and begin their counts at 0."""
        for name in self.labels.admit(names):
            self._begin(name)

    def count(self, counts: EventCounts) -> None:
        """Count what happened."""
        self.admit(name for name, _ in counts.started if name is not None)
        for name, count in counts.started:
            self.started.labels(self.labels.of(name)).inc(count)
        for name, state, position, count, seconds in counts.ended:
            label = self.labels.of(name)
            self.ended.labels(label, state).inc(count)
            self.durations.add(label, state, position, count, seconds)
        for kind, count in counts.retries.items():
            metrics.retries.labels(kind).inc(count)

    def _begin(self, label: str) -> None:
        self.started.labels(label)
        for state in sorted(TERMINAL_WORKFLOW_STATUSES):
            self.ended.labels(label, state)


workflow_counts = WorkflowCounts()
