"""`workflow-engine`: whether the installation as a whole is well, what becomes of workflows, and what holds them up."""

from __future__ import annotations

from typing import Any

from deploy.grafana import alerts, limits, services
from deploy.grafana.assembly import ENGINE_URL, Choice, Row, assemble
from deploy.grafana.panels import (
    BAD,
    GOOD,
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
    number,
    quantiles,
    timeline,
)
from deploy.grafana.promql import in_range, per_minute, quantile

UID = "workflow-engine"
TITLE = "Workflow engine"

_CHOSEN = 'definition=~"$definition"'
_FAILED = f'workflow_workflows_ended_total{{state="failed", {_CHOSEN}}}'
_JUDGED = f'workflow_workflows_ended_total{{state!="cancelled", {_CHOSEN}}}'
_FAILED_SHARE = f"(sum(increase({_FAILED}[1h])) or vector(0)) / (sum(increase({_JUDGED}[1h])) > 0)"
_PER_ENGINE = 'max(workflow_active_workflows) / (sum(up{job="workflow-engine"}) > 0)'

_FAILED_ONES = Link("Failed workflows", f"{ENGINE_URL}/admin/workflows?status=failed")
_PENDING_ONES = Link("Pending workflows", f"{ENGINE_URL}/admin/workflows?status=pending")
_LIVE_ONES = Link("Running workflows", f"{ENGINE_URL}/admin/workflows?status=running")


def _now() -> Row:
    return Row(
        "Now",
        [
            number(
                "Engines",
                "Engines that answer Prometheus. None for two minutes: alert EngineDown.",
                'sum(up{job="workflow-engine"}) or vector(0)',
                texts={0: ("none", BAD)},
            ),
            number(
                "Workers",
                "Workers that answer Prometheus. None for two minutes: alert AllWorkersDown.",
                'sum(up{job="workflow-workers"}) or vector(0)',
                texts={0: ("none", BAD)},
            ),
            number(
                "New work",
                "While the engine is paused, nothing new is accepted and started. `POST /api/v1/resume` ends it. For "
                "half an hour: alert EnginePausedLong.",
                "max(workflow_engine_paused)",
                texts={0: ("accepted", GOOD), 1: ("paused", WARN)},
            ),
            number(
                "Leader",
                "One engine leads: it takes back what dead workers held, wakes what is due, writes the list in Redis. "
                "None is normal for some seconds after an engine's end; for two minutes: alert WorkflowNoLeader.",
                "sum(workflow_engine_leader)",
                texts={0: ("none", BAD), 1: ("one", GOOD), 2: ("two", BAD)},
            ),
            number("Active workflows", "Workflows that have not ended.", "max(workflow_active_workflows)"),
            number(
                "Oldest pending workflow",
                "How long the oldest workflow has waited for its first claim. Above an hour: alert "
                "WorkflowStuckCritical.",
                "max(workflow_pending_duration_seconds)",
                unit=SECONDS,
                lines=[Line(limits.PENDING_WORKFLOW_SECONDS)],
                links=[_PENDING_ONES],
            ),
            number(
                "Failed in an hour",
                "Share of the workflows that ended in the last hour, without cancelled ones. Above 10 %: alert "
                "WorkflowFailureRate.",
                _FAILED_SHARE,
                unit=SHARE,
                decimals=1,
                lines=[Line(limits.FAILED_SHARE)],
                links=[_FAILED_ONES],
            ),
            number(
                "Orphaned workflows",
                "Workflows of which nobody moves a task any more. The leader takes them back by itself within "
                "seconds; `POST /api/v1/workflows/recover-orphaned` does it at once. For five minutes: alert "
                "WorkflowsOrphaned.",
                "max(workflow_orphaned_workflows)",
                lines=[Line(1, WARN)],
            ),
            _alerts(),
        ],
    )


def _alerts() -> Any:
    chosen = f'alertname=~"{"|".join(alerts.names())}"'
    return timeline(
        "Alerts",
        "When which of our alerts was pending (its condition holds, but not for long enough yet) and firing. A click "
        "leads to the page that says what it means and what to do.",
        [
            Query(
                f'2 * max by (alertname, severity) (ALERTS{{alertstate="firing", {chosen}}})'
                f' or max by (alertname, severity) (ALERTS{{alertstate="pending", {chosen}}})',
                "{{alertname}} ({{severity}})",
            )
        ],
        {1: ("pending", WARN), 2: ("firing", BAD)},
        nothing="No alert was pending or firing.",
        series_links=[Link("What to do", f"{alerts.PAGES}${{__field.labels.alertname}}.md")],
    )


def _workflows() -> Row:
    return Row(
        "Workflows",
        [
            chart(
                "Started and ended",
                "Starts, and ends by state. Starts above ends for long: work piles up.",
                [
                    Query(per_minute(f"workflow_workflows_started_total{{{_CHOSEN}}}"), "started"),
                    Query(per_minute(f"workflow_workflows_ended_total{{{_CHOSEN}}}", "state"), "{{state}}"),
                ],
                unit=PER_MINUTE,
                links=[_LIVE_ONES],
            ),
            chart(
                "Failed in an hour",
                "Share of the workflows that ended in the hour before, without cancelled ones. The line is that of "
                "WorkflowFailureRate, which also wants ten ends.",
                [Query(_FAILED_SHARE, "failed")],
                unit=SHARE,
                lines=[Line(limits.FAILED_SHARE)],
                links=[_FAILED_ONES],
            ),
            chart(
                "Time from start to end",
                "Of workflows that ended. They wait for people, timers and signals, too.",
                quantiles("workflow_workflow_duration_seconds", _CHOSEN),
                unit=SECONDS,
            ),
            chart(
                "Live workflows",
                "Not ended: pending ones have nothing claimed yet.",
                [Query("max by (state) (workflow_workflows)", "{{state}}")],
                stacked=True,
                links=[_LIVE_ONES],
            ),
            chart(
                "Oldest pending workflow",
                "Grows when no worker serves its queue, when the engine is paused, or when workers are too few. The "
                "line is that of WorkflowStuckCritical.",
                [Query("max(workflow_pending_duration_seconds)", "oldest")],
                unit=SECONDS,
                lines=[Line(limits.PENDING_WORKFLOW_SECONDS)],
                links=[_PENDING_ONES],
            ),
            chart(
                "Active workflows per engine",
                "Above 50 for ten minutes the runbook asks for another engine (alert EngineOverloaded).",
                [Query(_PER_ENGINE, "per engine")],
                lines=[Line(limits.ACTIVE_WORKFLOWS_PER_ENGINE, WARN)],
            ),
            listing(
                "Definitions",
                "What became of each definition's workflows in the time range. More than one live version: old ones "
                "still run.",
                {"definition": "Definition"},
                [
                    Column(
                        "Started", in_range(f"workflow_workflows_started_total{{{_CHOSEN}}}", "definition"), decimals=0
                    ),
                    Column("Ended", in_range(f"workflow_workflows_ended_total{{{_CHOSEN}}}", "definition"), decimals=0),
                    Column("Failed", in_range(_FAILED, "definition"), decimals=0),
                    Column(
                        "Failed share",
                        f"{in_range(_FAILED, 'definition')} / ({in_range(_JUDGED, 'definition')} > 0)",
                        unit=SHARE,
                        decimals=1,
                        lines=[Line(limits.FAILED_SHARE)],
                    ),
                    Column(
                        "Median time",
                        quantile(50, "workflow_workflow_duration_seconds", _CHOSEN, by="definition", over="$__range"),
                        unit=SECONDS,
                    ),
                    Column(
                        "p95 of time",
                        quantile(95, "workflow_workflow_duration_seconds", _CHOSEN, by="definition", over="$__range"),
                        unit=SECONDS,
                    ),
                    Column("Live versions", f"max by (definition) (workflow_definition_versions_active{{{_CHOSEN}}})"),
                ],
                sort="Failed",
                any_of=["Started", "Ended", "Live versions"],
                row_links=[
                    Link("Its workflows", f"{ENGINE_URL}/admin/workflows?name=${{__value.raw}}"),
                    Link("Its failed workflows", f"{ENGINE_URL}/admin/workflows?name=${{__value.raw}}&status=failed"),
                ],
            ),
        ],
    )


def _held_up() -> Row:
    return Row(
        "What holds workflows up, and what was put right",
        [
            chart(
                "Standing still",
                "Live workflows that somebody paused or nobody moves; approvals that nobody has answered; locks that "
                "are held.",
                [
                    Query("max(workflow_workflows_paused)", "paused workflows"),
                    Query("max(workflow_orphaned_workflows)", "orphaned workflows"),
                    Query("max(workflow_approvals_open)", "open approvals"),
                    Query("max(workflow_locks_held)", "held locks"),
                ],
            ),
            chart(
                "Retries",
                "automatic: a task's next try after a failure. manual: what people retried.",
                [Query(per_minute("workflow_retries_total", "kind"), "{{kind}}")],
                unit=PER_MINUTE,
            ),
            chart(
                "Taken back from workers",
                "Tasks that nobody moved any more. worker_dead after a crash or an eviction is what it is for; "
                "lock_expired: a worker lives, but stalls for longer than its lease.",
                [Query(per_minute("workflow_orphans_recovered_total", "reason"), "{{reason}}")],
                unit=PER_MINUTE,
            ),
            chart(
                "Out of time",
                "Workflows and tasks that failed because their time was over, by the limit.",
                [Query(per_minute("workflow_time_limits_total", "kind"), "{{kind}}")],
                unit=PER_MINUTE,
            ),
            chart(
                "Deadlocks and locks",
                "Circles of workflows that wait for each other's locks; locks that operators took away in Redis; "
                "bounds of budgets that were reached.",
                [
                    Query(per_minute("workflow_deadlocks_detected_total"), "deadlocks"),
                    Query(per_minute("workflow_locks_released_externally_total"), "forced releases"),
                    Query(per_minute("workflow_budget_bounds_reached_total", "kind"), "budget: {{kind}} bound"),
                ],
                unit=PER_MINUTE,
            ),
            chart(
                "Signals and webhooks to deliver",
                "What workflows emitted and is not delivered yet; dead ones were given up and are listed by `GET "
                "/api/v1/outbox`.",
                [
                    Query("max by (state) (workflow_outbox)", "{{state}}"),
                    Query(
                        per_minute('workflow_deliveries_total{result="failed"}', "to"), "failed tries a minute: {{to}}"
                    ),
                ],
            ),
            chart(
                "Schedules",
                "Due times by what came of them. skipped: the workflow before had not ended. missed: passed over "
                "after an outage.",
                [Query(per_minute("workflow_scheduled_starts_total", "result"), "{{result}}")],
                unit=PER_MINUTE,
                width=12,
            ),
            chart(
                "Oldest undelivered",
                "Age of the oldest emitted signal or webhook that is not delivered yet: alert "
                "WorkflowDeliveriesFailing.",
                [Query("max(workflow_outbox_pending_age_seconds)", "oldest")],
                lines=[Line(limits.UNDELIVERED_SECONDS, WARN)],
                unit=SECONDS,
                width=12,
            ),
        ],
    )


def dashboard(engine_url: str) -> dict[str, Any]:
    """As Grafana reads it."""
    return assemble(
        UID,
        TITLE,
        "Is the workflow engine well, what becomes of workflows, and what holds them up?",
        [
            _now(),
            _workflows(),
            _held_up(),
            *services.rows(),
        ],
        choices=[Choice("definition", "Definition", "workflow_workflows_started_total")],
        engine_url=engine_url,
        other=("Workflow queue", "workflow-queue"),
    )
