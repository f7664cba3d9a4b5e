"""Rows about what the engines are made of: their API, Postgres and Redis, the leader, the processes."""

from __future__ import annotations

from deploy.grafana import limits
from deploy.grafana.assembly import Row
from deploy.grafana.panels import (
    BYTES,
    CALM,
    FAINT,
    MOMENT,
    PER_MINUTE,
    PER_SECOND,
    SECONDS,
    SHARE,
    WARN,
    Column,
    Line,
    Query,
    chart,
    listing,
    number,
    timeline,
)
from deploy.grafana.promql import above_zero, in_range, per_minute, quantile


def rows() -> list[Row]:
    """All of them."""
    return [_api(), _stores(), _integrity(), _processes()]


def _api() -> Row:
    return Row(
        "API",
        [
            chart(
                "Requests",
                "By status. 503 while the engine is paused, too busy, or without Postgres; clients are told when to "
                "come again.",
                [Query("sum by (status) (rate(http_request_duration_seconds_count[$__rate_interval]))", "{{status}}")],
                unit=PER_SECOND,
                stacked=True,
            ),
            chart(
                "p95 by route",
                "The ten slowest routes. Those with `?wait` last as long as they wait.",
                [Query(f"topk(10, {quantile(95, 'http_request_duration_seconds', by='route')} > 0)", "{{route}}")],
                unit=SECONDS,
                calcs=["lastNotNull"],
            ),
            chart(
                "Share of 5xx",
                "Of all answers, and of those of each route. 503 asks clients to come again; others are bugs, and "
                "their log lines have the trace: alert WorkflowApiErrors.",
                [
                    Query(
                        '(sum(rate(http_request_duration_seconds_count{status=~"5.."}[$__rate_interval])) or vector(0))'
                        " / sum(rate(http_request_duration_seconds_count[$__rate_interval]))",
                        "all",
                    ),
                    Query(
                        'sum by (route) (rate(http_request_duration_seconds_count{status=~"5.."}[$__rate_interval]))'
                        " / sum by (route) (rate(http_request_duration_seconds_count[$__rate_interval]))",
                        "{{route}}",
                    ),
                ],
                unit=SHARE,
                calcs=["lastNotNull"],
            ),
            chart(
                "Refused requests",
                "For who or what sent them: no good key, not allowed, too many, too long.",
                [Query(above_zero(per_minute("workflow_requests_refused_total", "reason"), "reason"), "{{reason}}")],
                unit=PER_MINUTE,
                width=12,
                height=7,
            ),
            chart(
                "In flight",
                "Requests that are being answered, by engine.",
                [
                    Query("sum by (instance) (http_requests_in_flight)", "{{instance}}"),
                    Query("sum by (instance) (http_streams_open)", "{{instance}} streams"),
                ],
                width=12,
                height=7,
            ),
        ],
    )


def _stores() -> Row:
    return Row(
        "Postgres, Redis and duties",
        [
            chart(
                "Connections to Postgres",
                "Of the engines' pools. At their maximum statements wait.",
                [
                    Query('sum by (state) (workflow_postgres_pool_connections{job="workflow-engine"})', "{{state}}"),
                    Query('sum(workflow_postgres_pool_connections_max{job="workflow-engine"})', "maximum"),
                ],
            ),
            chart(
                "Waiting for a connection",
                "Statements that wait for one, averaged, and those that got none in time: alert WorkflowPoolExhausted.",
                [
                    Query(
                        "sum by (job) (rate(workflow_postgres_pool_wait_seconds_total[$__rate_interval]))", "{{job}}"
                    ),
                    Query("sum by (job) (workflow_postgres_pool_waiting)", "{{job}} at this moment"),
                    Query(per_minute("workflow_postgres_pool_timeouts_total"), "timeouts a minute"),
                ],
            ),
            chart(
                "Errors of Postgres",
                "By SQLSTATE; none: the connection was lost. Those that were repeated, so that nobody noticed, count "
                "too.",
                [Query(per_minute("workflow_postgres_errors_total", "sqlstate"), "{{sqlstate}}")],
                unit=PER_MINUTE,
            ),
            chart(
                "Oldest transaction",
                "One that is held open keeps what has ended from being cleaned up, and all gets slower: alert "
                "WorkflowTransactionHeldOpen.",
                [Query("max(workflow_oldest_transaction_age_seconds)", "oldest")],
                lines=[Line(limits.TRANSACTION_SECONDS, WARN)],
                unit=SECONDS,
            ),
            chart(
                "Errors of Redis",
                "By what the calls were for. Redis away costs no workflow anything: lists and locks in it are copies.",
                [
                    Query(per_minute("workflow_redis_errors_total", "op"), "{{op}}"),
                    Query(per_minute('workflow_mirror_rebuilds_total{result!="ok"}', "result"), "list: {{result}}"),
                ],
                unit=PER_MINUTE,
            ),
            chart(
                "Definitions from the cache",
                "Share that was read from memory or Redis instead of Postgres.",
                [
                    Query(
                        "sum(rate(workflow_definition_cache_hits_total[$__rate_interval]))"
                        " / (sum(rate(workflow_definition_cache_hits_total[$__rate_interval]))"
                        " + sum(rate(workflow_definition_cache_misses_total[$__rate_interval])))",
                        "hits",
                    )
                ],
                unit=SHARE,
                share=True,
            ),
            timeline(
                "Who leads",
                "The engine that leads, over time. A change takes at most 15 s.",
                [Query("max by (instance) (workflow_engine_leader)", "{{instance}}")],
                {0: ("stands by", FAINT), 1: ("leads", CALM)},
                nothing="No engine answered.",
                width=12,
                height=7,
            ),
            chart(
                "p99 of the leader's duties",
                "How long each took. All of them together should stay below WORKFLOW_SWEEP_SECONDS (5 s).",
                [Query(quantile(99, "workflow_sweep_duration_seconds", by="duty"), "{{duty}}")],
                unit=SECONDS,
                calcs=["lastNotNull"],
                width=12,
                height=7,
            ),
        ],
    )


def _integrity() -> Row:
    return Row(
        "What must stay zero",
        [
            number(
                "Broken invariants",
                "What must hold of the data and does not: a bug, or a hand in the tables (docs/invariants.md): alert "
                "WorkflowInvariantViolated.",
                "max(workflow_invariant_violations)",
                lines=[Line(1)],
                width=4,
            ),
            number(
                "Rows without a partition",
                "Events and attempts for which no partition was made in time (docs/history.md): alert "
                "WorkflowHistoryUnpartitioned.",
                "max(workflow_history_default_rows)",
                lines=[Line(1)],
                width=4,
            ),
            number(
                "Dead deliveries",
                "Signals and webhooks that were given up: `GET /api/v1/outbox` lists them.",
                'max(workflow_outbox{state="dead"})',
                lines=[Line(1, WARN)],
                width=4,
            ),
            number(
                "Lost audit rows",
                "In the time range: rows of the audit log that could not be kept until Postgres was back; they are in "
                "the log: alert WorkflowAuditRowsLost.",
                in_range("workflow_audit_rows_lost_total"),
                decimals=0,
                now=True,
                lines=[Line(1)],
                width=4,
            ),
            number(
                "Stale results",
                "In the time range: results that came after their lease was over. A few after a crash are right; "
                "many: leases are too short for how long workers stall.",
                in_range("workflow_stale_results_total"),
                decimals=0,
                now=True,
                lines=[Line(10, WARN)],
                width=4,
            ),
            number(
                "Statements without a connection",
                "In the time range: all connections of a process were in use for too long; see above.",
                in_range("workflow_postgres_pool_timeouts_total"),
                decimals=0,
                now=True,
                lines=[Line(1)],
                width=4,
            ),
        ],
    )


def _processes() -> Row:
    return Row(
        "Engines",
        [
            listing(
                "Engines",
                "Two versions side by side are normal during a rolling upgrade only.",
                {"instance": "Engine", "version": "Version"},
                [
                    Column(
                        "Started",
                        'process_start_time_seconds{job="workflow-engine"} * 1000'
                        " * on (job, instance) group_left (version) workflow_build_info",
                        unit=MOMENT,
                    ),
                    Column(
                        "Leads",
                        "max by (instance) (workflow_engine_leader)",
                        texts={0: ("stands by", FAINT), 1: ("leads", CALM)},
                    ),
                    Column(
                        "Memory", 'max by (instance) (process_resident_memory_bytes{job="workflow-engine"})', unit=BYTES
                    ),
                    Column("Open files", 'max by (instance) (process_open_fds{job="workflow-engine"})'),
                ],
                sort="Started",
                width=24,
                height=6,
            ),
            chart(
                "CPU",
                "Of one core. An engine is one process: at 100 % add another.",
                [
                    Query(
                        'sum by (instance) (rate(process_cpu_seconds_total{job="workflow-engine"}[$__rate_interval]))',
                        "{{instance}}",
                    )
                ],
                unit=SHARE,
                lines=[Line(limits.CPU_SHARE, WARN)],
            ),
            chart(
                "Memory",
                "Resident.",
                [Query('sum by (instance) (process_resident_memory_bytes{job="workflow-engine"})', "{{instance}}")],
                unit=BYTES,
            ),
            chart(
                "Delay of the event loop",
                "The largest of the last half minute. Above a second for ten minutes: alert EngineSlow. Too little "
                "CPU, as a rule, or too few engines.",
                [Query("max by (instance) (workflow_engine_event_loop_lag_seconds)", "{{instance}}")],
                lines=[Line(limits.ENGINE_LAG_SECONDS, WARN)],
                unit=SECONDS,
            ),
        ],
    )
