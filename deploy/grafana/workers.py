"""Rows about workers: as they are, and as Kubernetes sees them."""

from __future__ import annotations

from deploy.grafana import limits
from deploy.grafana.assembly import ENGINE_URL, Row
from deploy.grafana.panels import (
    BYTES,
    MOMENT,
    PER_MINUTE,
    SECONDS,
    SHARE,
    WARN,
    Column,
    Line,
    Link,
    Query,
    chart,
    listing,
    quantiles,
)
from deploy.grafana.promql import in_range, per_minute, quantile

QUEUE = 'queue=~"$queue"'
QUEUES = Link("Queues", f"{ENGINE_URL}/admin/queues")
ASKED_FOR = (
    f"clamp(ceil(max(workflow_queue_depth) / {limits.PENDING_TASKS_PER_WORKER}),"
    f" {limits.WORKERS_MIN}, {limits.WORKERS_MAX})"
)
_POD = 'pod=~"workflow-workers-.*"'
_CONTAINER = f'{_POD}, container="worker"'


def _by_worker(metric: str) -> Query:
    return Query(f"max by (instance) ({metric})", "{{instance}}")


def workers() -> Row:
    return Row(
        "Workers",
        [
            chart(
                "Slots by queue",
                "In use, and there. A worker that serves several queues counts in each.",
                [
                    Query(f"max by (queue) (workflow_worker_slots_used{{{QUEUE}}})", "{{queue}} in use"),
                    Query(f"max by (queue) (workflow_worker_slots{{{QUEUE}}})", "{{queue}} slots"),
                ],
                links=[QUEUES],
            ),
            chart(
                "Slots in use by worker",
                "Of its own slots. All at 100 %: too few workers. One at 100 % and others idle: tasks that do not end.",
                [
                    Query(
                        "sum by (instance) (workflow_tasks_running)"
                        " / (sum by (instance) (workflow_worker_concurrency) > 0)",
                        "{{instance}}",
                    )
                ],
                unit=SHARE,
                share=True,
                calcs=["lastNotNull"],
            ),
            chart(
                "Workers",
                "By state, and how many the backlog asks for (see above).",
                [
                    Query("max by (state) (workflow_workers)", "{{state}}"),
                    Query(ASKED_FOR, "asked for by the backlog"),
                ],
            ),
            chart(
                "Worker CPU",
                "Of one core; a worker is one process, with a process beside it where tasks need it. Above 70 % the "
                "runbook scales. The HPA takes it of what the pod requests: see Kubernetes below.",
                [
                    Query(
                        'sum by (instance) (rate(process_cpu_seconds_total{job="workflow-workers"}[$__rate_interval]))',
                        "{{instance}}",
                    )
                ],
                unit=SHARE,
                lines=[Line(limits.CPU_SHARE, WARN)],
                calcs=["lastNotNull"],
            ),
            chart(
                "Worker memory",
                "Held, and the least of what a worker may use (none without a limit). Near the limit a worker "
                "replaces itself. Above 85 % for ten minutes: alert WorkerMemoryNearLimit.",
                [
                    _by_worker("workflow_worker_memory_rss_bytes"),
                    Query("min(workflow_worker_memory_limit_bytes > 0)", "limit"),
                ],
                unit=BYTES,
                calcs=["lastNotNull"],
            ),
            chart(
                "Restarts",
                "Processes that began anew, and workers that replaced themselves, in ten minutes. Above 3: alert "
                "WorkerRestarting.",
                [
                    Query('sum(changes(process_start_time_seconds{job="workflow-workers"}[10m]))', "restarts"),
                    Query("sum by (reason) (increase(workflow_worker_recycles_total[10m]))", "recycled: {{reason}}"),
                    Query(
                        "sum by (result) (increase(workflow_attempts_alone_total[10m]))",
                        "in a process of its own: {{result}}",
                    ),
                ],
                lines=[Line(3, WARN)],
            ),
            chart(
                "Turns",
                "Round trips of workers to Postgres. conflict: repeated; away: Postgres was not there.",
                [Query(per_minute("workflow_worker_turns_total", "result"), "{{result}}")],
                unit=PER_MINUTE,
            ),
            chart(
                "Time of a turn",
                "The health of Postgres as workers feel it.",
                quantiles("workflow_worker_turn_duration_seconds"),
                unit=SECONDS,
            ),
            chart(
                "Delay of the event loop",
                "The largest of the last half minute. Seconds of it: a handler computes on the loop; have it be a "
                "plain function, which runs in a thread. Above 5 s: alert WorkerLoopBlocked.",
                [_by_worker("workflow_worker_event_loop_lag_seconds")],
                lines=[Line(limits.WORKER_LAG_SECONDS, WARN)],
                unit=SECONDS,
                calcs=["lastNotNull"],
            ),
            listing(
                "Workers",
                "Each that Prometheus has found.",
                {"instance": "Worker", "version": "Version"},
                [
                    Column(
                        "Started",
                        'process_start_time_seconds{job="workflow-workers"} * 1000'
                        " * on (job, instance) group_left (version) workflow_build_info",
                        unit=MOMENT,
                    ),
                    Column("Running", "sum by (instance) (workflow_tasks_running)"),
                    Column("Slots", "sum by (instance) (workflow_worker_concurrency)"),
                    Column("Memory", "max by (instance) (workflow_worker_memory_rss_bytes)", unit=BYTES),
                    Column("Stale results", in_range("workflow_stale_results_total", "instance"), decimals=0),
                    Column(
                        "Turns p95",
                        quantile(95, "workflow_worker_turn_duration_seconds", by="instance", over="$__range"),
                        unit=SECONDS,
                    ),
                ],
                sort="Started",
            ),
        ],
    )


def kubernetes() -> Row:
    replicas = 'horizontalpodautoscaler=~".*workflow-workers.*"'
    return Row(
        "Kubernetes (needs kube-state-metrics and cAdvisor)",
        [
            chart(
                "Replicas",
                "Of the workers, and what their autoscaler (KEDA's or your own) wants and may have.",
                [
                    Query('max(kube_deployment_status_replicas_available{deployment="workflow-workers"})', "available"),
                    Query(f"max(kube_horizontalpodautoscaler_status_desired_replicas{{{replicas}}})", "desired"),
                    Query(f"max(kube_horizontalpodautoscaler_spec_min_replicas{{{replicas}}})", "least"),
                    Query(f"max(kube_horizontalpodautoscaler_spec_max_replicas{{{replicas}}})", "most"),
                ],
            ),
            chart(
                "CPU of what is requested",
                "What the autoscaler by CPU looks at; the line is its target.",
                [
                    Query(
                        f"sum by (pod) (rate(container_cpu_usage_seconds_total{{{_CONTAINER}}}[$__rate_interval]))"
                        f' / sum by (pod) (kube_pod_container_resource_requests{{resource="cpu", {_CONTAINER}}})',
                        "{{pod}}",
                    )
                ],
                unit=SHARE,
                lines=[Line(limits.CPU_SHARE, WARN)],
                calcs=["lastNotNull"],
            ),
            chart(
                "Memory of what is allowed",
                "At 100 % the kernel kills it. A worker replaces itself before that.",
                [
                    Query(
                        f"sum by (pod) (container_memory_working_set_bytes{{{_CONTAINER}}})"
                        f' / sum by (pod) (kube_pod_container_resource_limits{{resource="memory", {_CONTAINER}}})',
                        "{{pod}}",
                    )
                ],
                unit=SHARE,
                share=True,
                calcs=["lastNotNull"],
            ),
            chart(
                "Restarts of containers",
                "In ten minutes. Above 3: alert WorkerRestarting.",
                [Query(f"sum by (pod) (increase(kube_pod_container_status_restarts_total{{{_POD}}}[10m]))", "{{pod}}")],
                lines=[Line(3, WARN)],
                width=12,
            ),
            chart(
                "Why containers ended last",
                "OOMKilled: raise the limit, or lower WORKER_CONCURRENCY.",
                [
                    Query(
                        f"sum by (reason) (kube_pod_container_status_last_terminated_reason{{{_POD}}})",
                        "{{reason}}",
                    )
                ],
                width=12,
            ),
        ],
        closed=True,
    )
