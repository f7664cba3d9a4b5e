"""Every metric of the engine, in one place: seconds and bytes, no ids as labels, known label values start at 0.

Counters are incremented only by the process that wins a state transition, so sums over processes are right.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram, Info, disable_created_metrics

from workflow_engine.states import OrphanReason

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
    "Duration of requests, by the template of their path",
    ["route", "method", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

refused_requests = Counter(
    "workflow_requests_refused_total",
    "Requests refused for who or what sent them, by reason: of the key, or the code of the problem",
    ["reason"],
)
for _reason in (
    "missing", "invalid", "expired", "revoked", "forbidden", "headers-too-large", "host-not-allowed",
    "malformed-request", "origin-not-allowed", "overloaded", "rate-limited", "request-timeout", "uri-too-long",
):  # fmt: skip
    refused_requests.labels(_reason)
audit_rows_lost = Counter(
    "workflow_audit_rows_lost_total", "Rows of the audit log that could not be written in time; they are in the log"
)

orphans_recovered = Counter(
    "workflow_orphans_recovered_total", "Tasks taken back because nobody moved them any more, by reason", ["reason"]
)


def count_orphans(tasks: Mapping[str, int]) -> None:
    """Count recovered tasks by reason."""
    for reason, count in tasks.items():
        orphans_recovered.labels(reason).inc(count)


count_orphans(dict.fromkeys(OrphanReason, 0))

engine_leader = Gauge("workflow_engine_leader", "1 in the engine process that leads, 0 in all others")
queue_mirror_length = Gauge("workflow_queue_mirror_length", "Length of workflow:tasks:pending as last written")
queue_mirror_last_success = Gauge(
    "workflow_queue_mirror_last_success_timestamp_seconds", "When this process last wrote workflow:tasks:pending"
)
mirror_rebuilds = Counter("workflow_mirror_rebuilds_total", "Snapshots written to Redis, by result", ["result"])
redis_errors = Counter("workflow_redis_errors_total", "Calls of Redis that failed, by what they were for", ["op"])
deadlocks_detected = Counter(
    "workflow_deadlocks_detected_total", "Circles of workflows that wait for each other's locks, each counted once"
)
locks_released_externally = Counter(
    "workflow_locks_released_externally_total", "Workflows whose locks an operator released by deleting their key"
)
time_limits = Counter(
    "workflow_time_limits_total", "Workflows and tasks that failed because their time was over, by the limit", ["kind"]
)
for _kind in ("workflow", "schedule_to_start", "schedule_to_close"):
    time_limits.labels(_kind)
deliveries = Counter(
    "workflow_deliveries_total", "Tries to deliver what workflows emitted, by kind and result", ["to", "result"]
)
for _to in ("signal", "webhook"):
    for _result in ("delivered", "failed", "dead"):
        deliveries.labels(_to, _result)
scheduled_starts = Counter(
    "workflow_scheduled_starts_total", "Due times of schedules, by what came of them", ["result"]
)
for _result in ("started", "skipped", "failed", "missed"):
    scheduled_starts.labels(_result)
workflows_deleted = Counter("workflow_workflows_deleted_total", "Workflows deleted because their retention was over")
partitions_dropped = Counter(
    "workflow_history_partitions_dropped_total", "Partitions of events and attempts dropped with all that was in them"
)
rows_in_default = Gauge(
    "workflow_history_default_rows", "Rows of events and attempts for which no partition was made in time, up to 10,000"
)
invariant_violations = Gauge(
    "workflow_invariant_violations", "What must hold of the data and does not, as far as it was found"
)
OF_THE_LEADER = (engine_leader, queue_mirror_length, rows_in_default, invariant_violations)
"""What a process says only while it leads; 0 in all others."""
budget_bounds_reached = Counter(
    "workflow_budget_bounds_reached_total", "Bounds of budgets that workflows have reached, by kind", ["kind"]
)
for _kind in ("soft", "hard"):
    budget_bounds_reached.labels(_kind)
definition_cache_hits = Counter(
    "workflow_definition_cache_hits_total", "Definitions read from memory or Redis instead of Postgres"
)
definition_cache_misses = Counter(
    "workflow_definition_cache_misses_total",
    "Definitions read from Postgres, by what was wrong with the cache",
    ["reason"],
)
for _reason in ("none", "stale", "wrong", "redis"):
    definition_cache_misses.labels(_reason)
for _result in ("ok", "failed", "refused"):
    mirror_rebuilds.labels(_result)
for _op in ("pending", "probe", "locks", "operation", "definitions"):
    redis_errors.labels(_op)

# Workers (port 9464) ------------------------------------------------------------------------------------------------

tasks_completed = Counter(
    "workflow_tasks_completed_total", "Attempts that ended, by task type and outcome", ["type", "state"]
)
task_duration = Histogram(
    "workflow_task_duration_seconds", "Run time of attempts", ["type", "state"], buckets=DURATION_BUCKETS
)
task_wait = Histogram("workflow_task_wait_seconds", "Time from pending to claimed", ["queue"], buckets=DURATION_BUCKETS)
task_timeouts = Counter("workflow_task_timeouts_total", "Attempts that exceeded their time", ["type"])
tasks_running = Gauge("workflow_tasks_running", "Attempts running in this worker")
worker_concurrency = Gauge("workflow_worker_concurrency", "Slots of this worker")
worker_memory_rss = Gauge("workflow_worker_memory_rss_bytes", "Memory this worker holds")
worker_memory_limit = Gauge("workflow_worker_memory_limit_bytes", "Memory this worker may use; 0 = no limit")
attempts_alone = Counter(
    "workflow_attempts_alone_total",
    "Attempts of tasks that lost their worker before, each in a process of its own, by how that ended",
    ["result"],
)
for _result in ("ended", "crashed", "stopped", "postponed"):
    attempts_alone.labels(_result)
worker_recycles = Counter(
    "workflow_worker_recycles_total", "Times this worker replaced itself in place, by reason", ["reason"]
)
worker_recycles.labels("memory")
stale_results = Counter("workflow_stale_results_total", "Results refused because their lease was no longer valid")
turns = Counter("workflow_worker_turns_total", "Round trips to Postgres, by result", ["result"])
turns_ok = turns.labels("ok")
turn_duration = Histogram(
    "workflow_worker_turn_duration_seconds",
    "Duration of a turn",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)


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
