"""Every metric that a process keeps itself: seconds and bytes, no ids as labels, known label values start at 0.

Counters are incremented only by the process that wins a state transition, so sums over processes are right.

What engines and workers have in common is in the library's registry, as is what handlers of users make; the others are
in `ENGINE` or `WORKER`, so that a process exports no zeros of the other kind. Gauges that are read from Postgres are in
`gauges.py`, the counts of workflows in `workflow_counts.py`, the connections in `pools.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from workflow_engine.observability.labels import Labels
from workflow_engine.states import AttemptOutcome, OrphanReason

ENGINE = CollectorRegistry()
WORKER = CollectorRegistry()

DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

disable_created_metrics()  # type: ignore[no-untyped-call]  # of each counter a second series: when it began

build_info = Info("workflow_build", "Version of the engine that runs")

egress_denied = Counter(
    "workflow_egress_denied_total", "Connections that were not made because the policy for egress closes their target"
)
postgres_errors = Counter(
    "workflow_postgres_errors_total",
    "Statements that Postgres refused or did not answer, by SQLSTATE; none: the connection was lost",
    ["sqlstate"],
)
for _sqlstate in ("none", "40001", "40P01", "55P03", "57014"):
    postgres_errors.labels(_sqlstate)

_spans = Counter(
    "workflow_spans_total", "Spans of traces: made, and of those sent to the collector or refused by it", ["result"]
)
spans_made, spans_sent, spans_failed = (_spans.labels(result) for result in ("made", "sent", "failed"))

# Engines (port 3003) ------------------------------------------------------------------------------------------------

http_request_duration = Histogram(
    "http_request_duration_seconds",
    "Duration of requests, by the template of their path; of streams until they begin",
    ["route", "method", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=ENGINE,
)

internal_errors = Counter(
    "http_internal_errors_total",
    "Requests that failed in the engine: answered with 5xx, but for 503, whose causes have alerts of their own",
    registry=None,  # for this process itself: Prometheus has it from the histogram, which is dear to add up
)
requests_in_flight = Gauge("http_requests_in_flight", "Requests that are being answered", registry=ENGINE)
open_streams = Gauge(
    "http_streams_open", "Answers that go on: events and logs that are followed, pages that are open", registry=ENGINE
)
refused_requests = Counter(
    "workflow_requests_refused_total",
    "Requests refused for who or what sent them, by reason: of the key, or the code of the problem",
    ["reason"],
    registry=ENGINE,
)
for _reason in (
    "missing", "invalid", "expired", "revoked", "forbidden", "headers-too-large", "host-not-allowed",
    "malformed-request", "origin-not-allowed", "overloaded", "rate-limited", "request-timeout", "uri-too-long",
):  # fmt: skip
    refused_requests.labels(_reason)
audit_rows_lost = Counter(
    "workflow_audit_rows_lost_total",
    "Rows of the audit log that could not be written in time; they are in the log",
    registry=ENGINE,
)

orphans_recovered = Counter(
    "workflow_orphans_recovered_total",
    "Tasks taken back because nobody moved them any more, by reason",
    ["reason"],
    registry=ENGINE,
)


def count_orphans(tasks: Mapping[str, int]) -> None:
    """Count recovered tasks by reason."""
    for reason, count in tasks.items():
        orphans_recovered.labels(reason).inc(count)


count_orphans(dict.fromkeys(OrphanReason, 0))

engine_leader = Gauge("workflow_engine_leader", "1 in the engine process that leads, 0 in all others", registry=ENGINE)
engine_event_loop_lag = Gauge(
    "workflow_engine_event_loop_lag_seconds",
    "How late this engine's event loop was at worst in the last half a minute",
    registry=ENGINE,
)
sweep_duration = Histogram(
    "workflow_sweep_duration_seconds",
    "How long the leader's sweeps took, by their duty",
    ["duty"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=ENGINE,
)
retries = Counter(
    "workflow_retries_total",
    "Next tries of tasks that failed (automatic), and retries that somebody asked for (manual)",
    ["kind"],
    registry=ENGINE,
)
for _kind in ("automatic", "manual"):
    retries.labels(_kind)
queue_mirror_length = Gauge(
    "workflow_queue_mirror_length", "Length of workflow:tasks:pending as last written", registry=ENGINE
)
queue_mirror_last_success = Gauge(
    "workflow_queue_mirror_last_success_timestamp_seconds",
    "When this process last wrote workflow:tasks:pending",
    registry=ENGINE,
)
mirror_rebuilds = Counter(
    "workflow_mirror_rebuilds_total", "Snapshots written to Redis, by result", ["result"], registry=ENGINE
)
redis_errors = Counter(
    "workflow_redis_errors_total", "Calls of Redis that failed, by what they were for", ["op"], registry=ENGINE
)
deadlocks_detected = Counter(
    "workflow_deadlocks_detected_total",
    "Circles of workflows that wait for each other's locks, each counted once",
    registry=ENGINE,
)
locks_released_externally = Counter(
    "workflow_locks_released_externally_total",
    "Workflows whose locks an operator released by deleting their key",
    registry=ENGINE,
)
time_limits = Counter(
    "workflow_time_limits_total",
    "Workflows and tasks that failed because their time was over, by the limit",
    ["kind"],
    registry=ENGINE,
)
for _kind in ("workflow", "schedule_to_start", "schedule_to_close"):
    time_limits.labels(_kind)
deliveries = Counter(
    "workflow_deliveries_total",
    "Tries to deliver what workflows emitted, by kind and result",
    ["to", "result"],
    registry=ENGINE,
)
for _to in ("signal", "webhook"):
    for _result in ("delivered", "failed", "dead"):
        deliveries.labels(_to, _result)
scheduled_starts = Counter(
    "workflow_scheduled_starts_total", "Due times of schedules, by what came of them", ["result"], registry=ENGINE
)
for _result in ("started", "skipped", "failed", "missed"):
    scheduled_starts.labels(_result)
workflows_deleted = Counter(
    "workflow_workflows_deleted_total", "Workflows deleted because their retention was over", registry=ENGINE
)
partitions_dropped = Counter(
    "workflow_history_partitions_dropped_total",
    "Partitions of events and attempts dropped with all that was in them",
    registry=ENGINE,
)
rows_in_default = Gauge(
    "workflow_history_default_rows",
    "Rows of events and attempts for which no partition was made in time, up to 10,000",
    registry=ENGINE,
)
invariant_violations = Gauge(
    "workflow_invariant_violations", "What must hold of the data and does not, as far as it was found", registry=ENGINE
)
OF_THE_LEADER = (engine_leader, queue_mirror_length, rows_in_default, invariant_violations)
"""What a process says only while it leads; 0 in all others."""
budget_bounds_reached = Counter(
    "workflow_budget_bounds_reached_total",
    "Bounds of budgets that workflows have reached, by kind",
    ["kind"],
    registry=ENGINE,
)
for _kind in ("soft", "hard"):
    budget_bounds_reached.labels(_kind)
definition_cache_hits = Counter(
    "workflow_definition_cache_hits_total", "Definitions read from memory or Redis instead of Postgres", registry=ENGINE
)
definition_cache_misses = Counter(
    "workflow_definition_cache_misses_total",
    "Definitions read from Postgres, by what was wrong with the cache",
    ["reason"],
    registry=ENGINE,
)
for _reason in ("none", "stale", "wrong", "redis"):
    definition_cache_misses.labels(_reason)
for _result in ("ok", "failed", "refused"):
    mirror_rebuilds.labels(_result)
for _op in ("pending", "probe", "locks", "operation", "definitions"):
    redis_errors.labels(_op)

# Workers (port 9464) ------------------------------------------------------------------------------------------------

tasks_completed = Counter(
    "workflow_tasks_completed_total",
    "Attempts that ended, by task type and outcome",
    ["type", "state"],
    registry=WORKER,
)
task_duration = Histogram(
    "workflow_task_duration_seconds",
    "Run time of attempts",
    ["type", "state"],
    buckets=DURATION_BUCKETS,
    registry=WORKER,
)
task_wait = Histogram(
    "workflow_task_wait_seconds", "Time from pending to claimed", ["queue"], buckets=DURATION_BUCKETS, registry=WORKER
)
task_timeouts = Counter("workflow_task_timeouts_total", "Attempts that exceeded their time", ["type"], registry=WORKER)


class RunningTasks(Collector):
    """Counts what runs when it is asked, so that attempts need not."""

    def __init__(self) -> None:
        self._types: Collection[str] = ()
        self._running: Callable[[], Iterable[str]] = tuple

    def watch(self, types: Collection[str], running: Callable[[], Iterable[str]]) -> None:
        """From now on count what `running` gives: the type of each attempt. `types` are there at 0."""
        self._types, self._running = types, running

    def collect(self) -> Iterator[GaugeMetricFamily]:
        counts = dict.fromkeys(self._types, 0)
        for type in self._running():
            counts[type] = counts.get(type, 0) + 1
        family = GaugeMetricFamily("workflow_tasks_running", "Attempts running in this worker", labels=["type"])
        for type, count in counts.items():
            family.add_metric([type], count)
        yield family


tasks_running = RunningTasks()
WORKER.register(tasks_running)
worker_event_loop_lag = Gauge(
    "workflow_worker_event_loop_lag_seconds",
    "How late this worker's event loop was at worst in the last half a minute",
    registry=WORKER,
)
llm_tokens = Counter(
    "workflow_llm_tokens_total", "Tokens that models told they used", ["model", "direction"], registry=WORKER
)
worker_concurrency = Gauge("workflow_worker_concurrency", "Slots of this worker", registry=WORKER)
worker_memory_rss = Gauge("workflow_worker_memory_rss_bytes", "Memory this worker holds", registry=WORKER)
worker_memory_limit = Gauge(
    "workflow_worker_memory_limit_bytes", "Memory this worker may use; 0 = no limit", registry=WORKER
)
attempts_alone = Counter(
    "workflow_attempts_alone_total",
    "Attempts of tasks that lost their worker before, each in a process of its own, by how that ended",
    ["result"],
    registry=WORKER,
)
for _result in ("ended", "crashed", "stopped", "postponed"):
    attempts_alone.labels(_result)
worker_recycles = Counter(
    "workflow_worker_recycles_total",
    "Times this worker replaced itself in place, by reason",
    ["reason"],
    registry=WORKER,
)
worker_recycles.labels("memory")
stale_results = Counter(
    "workflow_stale_results_total", "Results refused because their lease was no longer valid", registry=WORKER
)
turns = Counter("workflow_worker_turns_total", "Round trips to Postgres, by result", ["result"], registry=WORKER)
turns_ok = turns.labels("ok")
turn_duration = Histogram(
    "workflow_worker_turn_duration_seconds",
    "Duration of a turn",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
    registry=WORKER,
)


def serve_types(types: Iterable[str]) -> None:
    """Begin at 0 what is counted of attempts of these types, so that the first failure of one is an increase."""
    for type in types:
        task_timeouts.labels(type)
        for outcome in AttemptOutcome:
            if outcome != AttemptOutcome.LOST:  # which is for the leader to tell
                tasks_completed.labels(type, outcome)


def count_attempt(type: str, outcome: str, seconds: float) -> None:
    """Count an attempt that ended after so many seconds."""
    completed, duration = _of_attempts(type, outcome)
    completed.inc()
    duration.observe(seconds)


@lru_cache(maxsize=4096)
def _of_attempts(type: str, outcome: str) -> tuple[Counter, Histogram]:
    # To look a series up by its labels costs three times as much as to count in it.
    return tasks_completed.labels(type, outcome), task_duration.labels(type, outcome)


@lru_cache(maxsize=4096)
def wait_of(queue: str) -> Histogram:
    """Where the waiting times of a queue's tasks are observed."""
    return task_wait.labels(queue)


_models = Labels(50)


def count_tokens(model: str, input_tokens: float | None, output_tokens: float | None) -> None:
    """Count what a model used up, as far as it told."""
    _models.admit([model])
    llm_tokens.labels(_models.of(model), "input").inc(input_tokens or 0)
    llm_tokens.labels(_models.of(model), "output").inc(output_tokens or 0)
