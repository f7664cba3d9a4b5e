"""The shape of each thing in answers: from records to JSON data. `schemas` documents these shapes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from workflow_engine.api.answers import API
from workflow_engine.errors import Fault
from workflow_engine.observability import span_names
from workflow_engine.observability.alerts import summary_of
from workflow_engine.records import (
    Alert,
    Approval,
    Attempt,
    Delivery,
    EngineState,
    Gauges,
    LockInUse,
    LockPlace,
    OrphanedTask,
    PausedWorkflow,
    PinnedDefinition,
    QueueGauges,
    Reason,
    Recovery,
    ReleasedLocks,
    SentSignal,
    Signal,
    SlowAttempt,
    StartedWorkflow,
    Task,
    TaskType,
    TaskTypeChange,
    Version,
    Worker,
    WorkerTask,
    Workflow,
    WorkflowSummary,
)
from workflow_engine.states import OrphanReason


def path_of(workflow_id: UUID | str) -> str:
    """Where a workflow is found."""
    return f"{API}/workflows/{workflow_id}"


def links(workflow_id: UUID | str) -> dict[str, str]:
    """What can be looked at and done next."""
    path = path_of(workflow_id)
    return {"self": path} | {
        name: f"{path}/{name}" for name in ("tasks", "dag", "trace", "logs", "why", "cancel", "retry")
    }


def started(workflow: StartedWorkflow, warnings: Sequence[Fault]) -> dict[str, Any]:
    return {
        **started_briefly(workflow),
        "links": links(workflow.id),
        "warnings": [{"pointer": w.pointer, "code": w.code, "message": w.message} for w in warnings],
    }


def started_briefly(workflow: StartedWorkflow) -> dict[str, Any]:
    return {
        "id": str(workflow.id),
        "name": workflow.name,
        "version": workflow.version,
        "status": workflow.status,
        "existing": workflow.existing,
    }


def summary(workflow: Workflow | WorkflowSummary) -> dict[str, Any]:
    return {
        "id": str(workflow.id),
        "name": workflow.name,
        "version": workflow.version,
        "status": workflow.status,
        "error": workflow.error,
        "labels": workflow.labels,
        "priority": workflow.priority,
        "created_at": workflow.created_at,
        "started_at": workflow.started_at,
        "finished_at": workflow.finished_at,
        "retried_at": workflow.retried_at,
        "idle_s": round(workflow.idle_seconds, 3),
        "paused_at": workflow.paused_at,
        "ending": workflow.ending,
        "parent_id": _text(workflow.parent_id),
        "created_by": workflow.created_by,
        "trace_id": span_names.trace_id(workflow.id, workflow.traceparent),
        "links": links(workflow.id),
    }


def workflow(workflow: Workflow) -> dict[str, Any]:
    return {
        **summary(workflow),
        "input": workflow.input,
        "output": workflow.output,
        "paused_by": workflow.paused_by,
        "paused_reason": workflow.paused_reason,
        "latest_version": workflow.latest_version,
        "pinned_version": workflow.pinned_version,
        "pending_reason": workflow.pending_reason,
        "deadline": workflow.deadline,
        "parent_task_id": _text(workflow.parent_task_id),
        "root_id": _text(workflow.root_id),
        "rerun_of": _text(workflow.rerun_of),
        "budget": workflow.budget,
    }


def engine_state(state: EngineState) -> dict[str, Any]:
    return {
        "paused": state.paused,
        "since": state.since,
        "until": state.until,
        "by": state.by,
        "reason": state.reason,
        "running": state.running,
    }


def load(gauges: Gauges, queue: str | None) -> dict[str, Any]:
    """What an autoscaler reads: of all queues, or of one, whether anybody uses it or not."""
    if queue is None:
        queues = gauges.queues
    else:
        unused = QueueGauges(queue, 0, 0, 0, 0, 0.0, 0)
        queues = [next((found for found in gauges.queues if found.queue == queue), unused)]
    by_queue = {
        found.queue: {"load": found.load, "pending": found.pending, "running": found.running, "slots": found.slots}
        for found in queues
    }
    whole = {key: sum(found[key] for found in by_queue.values()) for key in ("load", "pending", "running", "slots")}
    if queue is None:
        whole["slots"] = gauges.slots  # not the sum: a worker may serve several
    return {**whole, "by_queue": by_queue}


def paused_workflow(workflow: PausedWorkflow) -> dict[str, Any]:
    return {
        "id": str(workflow.id),
        "status": workflow.status,
        "paused": workflow.paused_at is not None,
        "since": workflow.paused_at,
        "by": workflow.by,
        "reason": workflow.reason,
        "links": links(workflow.id),
    }


def pinned_workflow(workflow: Workflow) -> dict[str, Any]:
    return {
        "id": str(workflow.id),
        "name": workflow.name,
        "status": workflow.status,
        "version": workflow.version,
        "latest_version": workflow.latest_version,
        "pinned_version": workflow.pinned_version,
        "links": links(workflow.id),
    }


def pinned_definition(definition: PinnedDefinition) -> dict[str, Any]:
    return {
        "id": None,
        "name": definition.name,
        "status": None,
        "version": definition.pinned_version or definition.latest_version,
        "latest_version": definition.latest_version,
        "pinned_version": definition.pinned_version,
        "links": {"versions": f"{API}/workflows/versions"},
    }


def versions(versions: Iterable[Version]) -> list[dict[str, Any]]:
    """One for each definition; the versions of one follow each other."""
    return [
        {
            "name": name,
            "latest_version": its[0].latest_version,
            "pinned_version": its[0].pinned_version,
            "versions": [
                {
                    "version": version.version,
                    "hash": version.hash,
                    "created_at": version.created_at,
                    "active_runs": version.active_runs,
                    "pinned_runs": version.pinned_runs,
                    "is_default": version.is_default,
                }
                for version in its
            ],
        }
        for name, its in ((name, list(group)) for name, group in itertools.groupby(versions, lambda v: v.name))
    ]


def lock(lock: LockInUse) -> dict[str, Any]:
    return {
        "kind": lock.kind,
        "key": lock.key,
        "used": lock.used,
        "holding": lock.holding,
        "waiting": lock.waiting,
        "capacity": lock.capacity,
        "holders": [_lock_place(place) for place in lock.holders],
        "waiters": [_lock_place(place) for place in lock.waiters],
    }


def _lock_place(place: LockPlace) -> dict[str, Any]:
    return {
        "workflow_id": str(place.workflow_id),
        "task_id": str(place.task_id),
        "step": place.step,
        "scope": place.scope,
        "units": place.units,
        "since": place.since,
    }


def released_locks(released: ReleasedLocks) -> dict[str, Any]:
    return {
        "id": str(released.workflow_id),
        "locks": released.locks,
        "tasks": released.tasks,
        "links": links(released.workflow_id),
    }


def sent_signal(sent: SentSignal) -> dict[str, Any]:
    return {
        "seq": str(sent.seq),
        "workflow_id": str(sent.workflow_id),
        "name": sent.name,
        "at": sent.at,
        "links": {"workflow": path_of(sent.workflow_id), "signals": f"{path_of(sent.workflow_id)}/signals"},
    }


def signal(signal: Signal) -> dict[str, Any]:
    return {
        "seq": str(signal.seq),
        "name": signal.name,
        "payload": signal.payload,
        "by": signal.by,
        "at": signal.at,
        "taken_by": None if signal.taken_by is None else str(signal.taken_by),
        "taken_at": signal.taken_at,
    }


def approval(approval: Approval) -> dict[str, Any]:
    return {
        "id": str(approval.id),
        "workflow_id": str(approval.workflow_id),
        "workflow_name": approval.name,
        "task_id": str(approval.task_id),
        "step": approval.step,
        "status": approval.status,
        "prompt": approval.prompt,
        "form_schema": approval.form_schema,
        "assignees": approval.assignees,
        "outcomes": approval.outcomes,
        "created_at": approval.created_at,
        "expires_at": approval.expires_at,
        "outcome": approval.outcome,
        "data": approval.data,
        "by": approval.by,
        "at": approval.at,
        "links": {"self": f"{API}/approvals/{approval.id}", "workflow": path_of(approval.workflow_id)},
    }


def delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": str(delivery.id),
        "workflow_id": str(delivery.workflow_id),
        "task_id": str(delivery.task_id),
        "name": delivery.name,
        "payload": delivery.payload,
        "to": delivery.kind,
        "target": delivery.target,
        "status": delivery.status,
        "tries": delivery.tries,
        "created_at": delivery.created_at,
        "due_at": delivery.due_at,
        "delivered_at": delivery.delivered_at,
        "error": delivery.error,
        "receivers": delivery.receivers,
        "links": {"workflow": path_of(delivery.workflow_id), "retry": f"{API}/outbox/{delivery.id}/retry"},
    }


def task(task: Task) -> dict[str, Any]:
    return {
        "id": str(task.id),
        "workflow_id": str(task.workflow_id),
        "step": task.step,
        "path": task.path,
        "type": task.type,
        "status": task.status,
        "attempt": task.attempt,
        "queue": task.queue,
        "worker_id": None if task.worker_id is None else str(task.worker_id),
        "timeout_override": task.timeout_override,
        "pending_since": task.pending_since,
        "scheduled_at": task.scheduled_at,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "output": task.output,
        "output_from": task.output_from,
        "error": task.error,
        "child_workflow_id": _text(task.child_workflow_id),
        "trace_id": task.trace_id,
        "span_id": task.span_id,
    }


def reason(reason: Reason) -> dict[str, Any]:
    return {
        "workflow_id": str(reason.workflow_id),
        "task_id": str(reason.task_id),
        "step": reason.step,
        "status": reason.status,
        "reason": reason.reason,
        "explanation": reason.explanation,
        "since": reason.since,
        "until": reason.until,
        "command": reason.command,
        "details": reason.details,
    }


def span(attempt: Attempt, workflow_id: str) -> dict[str, Any]:
    """One attempt in a trace; one that still runs has the status `running` and no end."""
    return {
        "step": attempt.step,
        "path": attempt.path,
        "task_id": str(attempt.task_id),
        "type": attempt.type,
        "attempt": attempt.attempt,
        "status": attempt.outcome or "running",
        "worker": attempt.worker,
        "queued_at": attempt.pending_since,
        "started_at": attempt.started_at,
        "finished_at": attempt.ended_at,
        "wait_s": _seconds(attempt.pending_since, attempt.started_at),
        "run_s": _seconds(attempt.started_at, attempt.ended_at),
        "error": attempt.error,
        "trace_id": span_names.trace_id(workflow_id, attempt.traceparent),
        "span_id": span_names.attempt_span_id(attempt.task_id, attempt.attempt),
        "parent_span_id": span_names.root_span_id(workflow_id),
    }


def slow_attempt(attempt: SlowAttempt, default_timeout: float) -> dict[str, Any]:
    return {
        "task_id": str(attempt.task_id),
        "workflow_id": str(attempt.workflow_id),
        "workflow_name": attempt.workflow_name,
        "step": attempt.step,
        "type": attempt.type,
        "attempt": attempt.attempt,
        "status": attempt.status,
        "duration": round(attempt.duration, 6),
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "worker": attempt.worker,
        "timeout": default_timeout if attempt.timeout is None else attempt.timeout,
        "timeout_from": attempt.timeout_from or "default",
        "links": {
            "workflow": path_of(attempt.workflow_id),
            "trace": f"{path_of(attempt.workflow_id)}/trace",
            "task_type": f"{API}/task-types/{attempt.type}",
            "retry": f"{API}/tasks/{attempt.task_id}/retry",
        },
    }


def task_type(known: TaskType, default_timeout: float, default_max_attempts: int) -> dict[str, Any]:
    """`effective` says what counts where neither a step nor a retry says otherwise, and who said so."""
    return {
        "name": known.name,
        "builtin": known.builtin,
        "description": known.description,
        "timeout": known.timeout,
        "max_attempts": known.max_attempts,
        "effective": {
            "timeout": _first_said(type=known.timeout, handler=known.handler_timeout, default=default_timeout),
            "max_attempts": _first_said(
                type=known.max_attempts, handler=known.handler_max_attempts, default=default_max_attempts
            ),
        },
        "created_at": known.created_at,
        "updated_at": known.updated_at,
        "links": {
            "self": f"{API}/task-types/{known.name}",
            "changes": f"{API}/task-types/{known.name}/changes",
            "slow": f"{API}/tasks/slow?type={known.name}",
        },
    }


def task_type_change(change: TaskTypeChange) -> dict[str, Any]:
    return {"at": change.at, "by": change.by, "changes": change.changes}


def _first_said(**said: float | None) -> dict[str, Any]:
    source, value = next((source, value) for source, value in said.items() if value is not None)
    return {"value": value, "from": source}


def worker(worker: Worker) -> dict[str, Any]:
    return {
        "id": str(worker.id),
        "name": worker.name,
        "host": worker.host,
        "pid": worker.pid,
        "version": worker.version,
        "queues": worker.queues,
        "task_types": worker.task_types,
        "status": worker.status,
        "status_reason": worker.status_reason,
        "drained_at": worker.drained_at,
        "drained_by": worker.drained_by,
        "concurrency": worker.concurrency,
        "busy": len(worker.current_tasks),
        "current_tasks": [str(task_id) for task_id in worker.current_tasks],
        "last_heartbeat_at": worker.last_heartbeat_at,
        "age_s": round(worker.age_seconds, 3),
        "started_at": worker.started_at,
        "rss_bytes": worker.rss_bytes,
    }


def dead_worker(record: Worker, tasks: Iterable[WorkerTask]) -> dict[str, Any]:
    ids = sorted({*record.current_tasks, *record.lost_tasks})
    return {
        **worker(record),
        "orphaned_tasks": [str(task_id) for task_id in ids],
        "tasks": [
            {
                "task_id": str(task.task_id),
                "path": task.path,
                "type": task.type,
                "workflow_id": str(task.workflow_id),
                "workflow_name": task.workflow_name,
                "attempt": task.attempt,
                "taken_back_at": task.taken_back_at,
                "status": task.status,
            }
            for task in tasks
        ],
    }


def alert(alert: Alert) -> dict[str, Any]:
    return {
        "name": alert.name,
        "subject": alert.subject or None,
        "severity": alert.severity,
        "state": alert.state,
        "summary": summary_of(alert),
        "value": alert.value,
        "threshold": alert.threshold,
        "since": alert.since,
        "fires_at": alert.fires_at,
        "links": {"page": f"/admin/alerts/{alert.name}"},
    }


def orphans(tasks: Iterable[OrphanedTask]) -> list[dict[str, Any]]:
    """Orphaned workflows with the tasks that make them so, in the order in which their first task comes."""
    found: dict[UUID, list[OrphanedTask]] = {}
    for task in tasks:
        found.setdefault(task.workflow_id, []).append(task)
    return [
        {
            "id": str(workflow_id),
            "name": its[0].name,
            "version": its[0].version,
            "status": its[0].workflow_status,
            "reason": min((OrphanReason(task.reason) for task in its), key=list(OrphanReason).index),
            "since": min(task.since for task in its),
            "tasks": [
                {
                    "id": str(task.task_id),
                    "step": task.step,
                    "status": task.status,
                    "attempt": task.attempt,
                    "worker_id": None if task.worker_id is None else str(task.worker_id),
                    "worker": task.worker,
                    "lease_until": task.lease_until,
                    "reason": task.reason,
                    "since": task.since,
                }
                for task in its
            ],
            "links": links(workflow_id),
        }
        for workflow_id, its in found.items()
    ]


def recovery(recovery: Recovery, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "recovered": recovery.recovered,
        "cancelled": recovery.cancelled,
        "skipped": recovery.skipped,
    }


def _text(id: UUID | int | None) -> str | None:
    return None if id is None else str(id)


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    if begin is None or end is None:
        return None
    return round(max((end - begin).total_seconds(), 0.0), 6)
