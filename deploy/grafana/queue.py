"""`workflow-queue`: what waits for workers, for how long, and whether there are enough of them."""

from __future__ import annotations

from typing import Any

from deploy.grafana import limits, workers
from deploy.grafana.assembly import Choice, Row, assemble
from deploy.grafana.panels import (
    BAD,
    PER_MINUTE,
    SECONDS,
    SHARE,
    WARN,
    Column,
    Line,
    Query,
    chart,
    listing,
    number,
    quantiles,
    spread,
)
from deploy.grafana.promql import above_zero, in_range, per_minute, quantile
from deploy.grafana.workers import ASKED_FOR, QUEUE, QUEUES

UID = "workflow-queue"
TITLE = "Workflow queue"

_TYPE = 'type=~"$type"'
_FAILED = f'workflow_tasks_completed_total{{state=~"failed|retried|lost", {_TYPE}}}'
_DEPTH_LINES = [Line(limits.PENDING_TASKS, WARN), Line(limits.PENDING_TASKS_CRITICAL, BAD)]
_DONE = f"sum(rate(workflow_tasks_completed_total{{{_TYPE}}}[$__rate_interval])) * 60"
_USED = (
    f"sum(max by (queue) (workflow_worker_slots_used{{{QUEUE}}}))"
    f" / (sum(max by (queue) (workflow_worker_slots{{{QUEUE}}})) > 0)"
)


def _now() -> Row:
    return Row(
        "Now",
        [
            number(
                "Pending tasks",
                "Ready to run and claimed by nobody, in all queues. Above 100 for ten minutes: alert QueueBacklog; "
                "above 1,000: QueueBacklogCritical.",
                "max(workflow_queue_depth)",
                lines=_DEPTH_LINES,
                links=[QUEUES],
            ),
            number(
                "Oldest pending task",
                "How long it has been ready, in the chosen queues.",
                f"max(workflow_oldest_pending_task_age_seconds{{{QUEUE}}})",
                unit=SECONDS,
                links=[QUEUES],
            ),
            number(
                "Wait, p95",
                "From ready to claimed, of what was claimed in the last ten minutes in the chosen queues.",
                f"{quantile(95, 'workflow_task_wait_seconds', QUEUE, over='10m')} >= 0 or on () vector(0)",
                unit=SECONDS,
            ),
            number(
                "Attempts a minute",
                "Attempts that ended, of the chosen task types. Below 10 while over 100 wait: alert TaskThroughputLow.",
                f"sum(rate(workflow_tasks_completed_total{{{_TYPE}}}[5m])) * 60",
                decimals=0,
            ),
            number(
                "Average time of an attempt",
                "Of those that ended in the last 15 minutes. Above 5 minutes: alert HighTaskLatency.",
                f"sum(rate(workflow_task_duration_seconds_sum{{{_TYPE}}}[15m]))"
                f" / (sum(rate(workflow_task_duration_seconds_count{{{_TYPE}}}[15m])) > 0)",
                unit=SECONDS,
                lines=[Line(limits.TASK_SECONDS, WARN)],
            ),
            number(
                "Active workers",
                "Registered, with a heartbeat, and not draining.",
                'max(workflow_workers{state="active"})',
                texts={0: ("none", BAD)},
                links=[QUEUES],
            ),
            number(
                "Slots in use",
                "Of the active workers that serve the chosen queues.",
                _USED,
                unit=SHARE,
                decimals=0,
                lines=[Line(0.9, WARN)],
            ),
            number(
                "Workers asked for",
                "By the backlog alone: one for every ten pending tasks, 2 at least, 20 at most, as the ScaledObject "
                "has it.",
                ASKED_FOR,
            ),
        ],
    )


def _backlog() -> Row:
    return Row(
        "What waits",
        [
            chart(
                "Pending tasks",
                "In all queues. The lines are those of QueueBacklog and QueueBacklogCritical. Scale the workers, or "
                "look below for what holds the queue up.",
                [Query("max(workflow_queue_depth)", "pending")],
                lines=_DEPTH_LINES,
                links=[QUEUES],
            ),
            chart(
                "Pending by queue",
                "Which queue it is. One that no worker serves: alert WorkflowQueueUnserved.",
                [Query(f'max by (queue) (workflow_queue_tasks{{state="pending", {QUEUE}}})', "{{queue}}")],
                stacked=True,
                links=[QUEUES],
            ),
            chart(
                "Tasks that do not run yet, and that run",
                "scheduled: they wait for a time, such as a backoff. held: by a pause, a lock or a limit; more "
                "workers do not help those.",
                [Query(f"sum by (state) (max by (queue, state) (workflow_queue_tasks{{{QUEUE}}}))", "{{state}}")],
                stacked=True,
                links=[QUEUES],
            ),
            chart(
                "Oldest pending task",
                "By queue. One that keeps growing while others do not: no worker serves it, or has the type.",
                [Query(f"max by (queue) (workflow_oldest_pending_task_age_seconds{{{QUEUE}}})", "{{queue}}")],
                unit=SECONDS,
                links=[QUEUES],
            ),
            chart(
                "Claimed and ended",
                "Attempts that workers began and ended. Below the line while over 100 tasks wait: alert "
                "TaskThroughputLow.",
                [
                    Query(per_minute(f"workflow_task_wait_seconds_count{{{QUEUE}}}"), "claimed"),
                    Query(_DONE, "ended"),
                ],
                unit=PER_MINUTE,
                lines=[Line(limits.ENDED_PER_MINUTE, WARN)],
            ),
            chart(
                "The list in Redis",
                "KEDA scales by the length of workflow:tasks:pending, a copy. Far from the number of pending tasks, "
                "or not written for half a minute: alert WorkflowQueueMirrorStale.",
                [
                    Query("max(workflow_queue_mirror_length)", "in the list"),
                    Query("max(workflow_queue_depth)", "pending"),
                    Query(
                        "time() - max(workflow_queue_mirror_last_success_timestamp_seconds)",
                        "age of the list in seconds",
                    ),
                ],
            ),
        ],
    )


def _times() -> Row:
    return Row(
        "How long it takes",
        [
            chart(
                "Wait until claimed",
                "From ready to claimed, in the chosen queues: grows when workers are too few.",
                quantiles("workflow_task_wait_seconds", QUEUE),
                unit=SECONDS,
            ),
            chart(
                "Average time of attempts",
                "Over 15 minutes. The line is that of HighTaskLatency.",
                [
                    Query(
                        f"sum(rate(workflow_task_duration_seconds_sum{{{_TYPE}}}[15m]))"
                        f" / (sum(rate(workflow_task_duration_seconds_count{{{_TYPE}}}[15m])) > 0)",
                        "all chosen types",
                    )
                ],
                unit=SECONDS,
                lines=[Line(limits.TASK_SECONDS, WARN)],
            ),
            chart(
                "p95 of attempts by type",
                "The ten slowest of the chosen types.",
                [
                    Query(
                        f"topk(10, {quantile(95, 'workflow_task_duration_seconds', _TYPE, by='type')} > 0)",
                        "{{type}}",
                    )
                ],
                unit=SECONDS,
                calcs=["lastNotNull"],
            ),
            spread("Waits", "How many waited for how long, in the chosen queues.", "workflow_task_wait_seconds", QUEUE),
            spread("Attempts", "How many took how long, of the chosen types.", "workflow_task_duration_seconds", _TYPE),
            listing(
                "Task types",
                "Attempts in the time range. A timeout can be raised for a type: `PATCH /api/v1/task-types/{type}`.",
                {"type": "Type"},
                [
                    Column("Attempts", in_range(f"workflow_tasks_completed_total{{{_TYPE}}}", "type"), decimals=0),
                    Column(
                        "Failed",
                        in_range(_FAILED, "type"),
                        decimals=0,
                    ),
                    Column(
                        "Timed out",
                        in_range(f"workflow_task_timeouts_total{{{_TYPE}}}", "type"),
                        decimals=0,
                        lines=[Line(1, WARN)],
                    ),
                    Column(
                        "Average",
                        f"{in_range(f'workflow_task_duration_seconds_sum{{{_TYPE}}}', 'type')}"
                        f" / ({in_range(f'workflow_task_duration_seconds_count{{{_TYPE}}}', 'type')} > 0)",
                        unit=SECONDS,
                        lines=[Line(limits.TASK_SECONDS, WARN)],
                    ),
                    Column(
                        "p95",
                        quantile(95, "workflow_task_duration_seconds", _TYPE, by="type", over="$__range"),
                        unit=SECONDS,
                    ),
                    Column("Running", f"sum by (type) (workflow_tasks_running{{{_TYPE}}})"),
                ],
                sort="Average",
                any_of=["Attempts", "Running"],
            ),
        ],
    )


def _attempts() -> Row:
    return Row(
        "How attempts end",
        [
            chart(
                "Attempts by outcome",
                "retried: failed, and another try follows. released: handed back by a worker that stops; no try. "
                "waiting: the task waits for a time, a person or other tasks; no try.",
                [Query(per_minute(f"workflow_tasks_completed_total{{{_TYPE}}}", "state"), "{{state}}")],
                unit=PER_MINUTE,
                stacked=True,
            ),
            chart(
                "Failed tries by type",
                "Also those that were tried again.",
                [Query(above_zero(per_minute(_FAILED, "type"), "type"), "{{type}}")],
                unit=PER_MINUTE,
            ),
            chart(
                "Timeouts by type",
                "Attempts that exceeded their time: a slow target, or a timeout too short.",
                [Query(above_zero(per_minute(f"workflow_task_timeouts_total{{{_TYPE}}}", "type"), "type"), "{{type}}")],
                unit=PER_MINUTE,
            ),
        ],
    )


def _targets() -> Row:
    return Row(
        "Models, targets and traces",
        [
            chart(
                "Tokens",
                "Of llm_inference steps, and agents that say so.",
                [Query(per_minute("workflow_llm_tokens_total", "model, direction"), "{{model}} {{direction}}")],
                unit=PER_MINUTE,
            ),
            chart(
                "Denied connections",
                "That were not made because the policy for egress closes their target (docs/egress.md).",
                [Query(per_minute("workflow_egress_denied_total", "job"), "{{job}}")],
                unit=PER_MINUTE,
            ),
            chart(
                "Spans of traces",
                "Of engines and workers. failed: the collector refused them, or was away; no workflow waits for it "
                "(docs/traces.md).",
                [Query(per_minute("workflow_spans_total", "result"), "{{result}}")],
                unit=PER_MINUTE,
            ),
        ],
    )


def dashboard(engine_url: str) -> dict[str, Any]:
    """As Grafana reads it."""
    return assemble(
        UID,
        TITLE,
        "What waits for workers, for how long, and are there enough of them?",
        [_now(), _backlog(), _times(), _attempts(), workers.workers(), _targets(), workers.kubernetes()],
        choices=[
            Choice("queue", "Queue", "workflow_queue_tasks"),
            Choice("type", "Task type", "workflow_tasks_completed_total"),
        ],
        engine_url=engine_url,
        other=("Workflow engine", "workflow-engine"),
    )
