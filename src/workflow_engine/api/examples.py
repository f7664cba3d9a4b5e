"""Examples of the OpenAPI document: the runbook's workflow, from its creation to its trace."""

from __future__ import annotations

from typing import Any

from workflow_engine.api.views import links
from workflow_engine.definition.drawing.picture import Box, Picture
from workflow_engine.states import TaskStatus

_ID = "0198c2f4-5a3e-7c41-9d3b-0f6b1f0e2a77"
_TASK = "6488064"
_CREATED, _STARTED, _FETCHED, _FINISHED = (f"2026-01-31T12:00:0{n}Z" for n in ("0.000000", "0.010000", "0.250000", "2"))
_LINKS = links(_ID)

CREATE_WORKFLOW: dict[str, Any] = {
    "name": "data-pipeline",
    "steps": [
        {"id": "fetch", "type": "http", "url": "https://example.com/orders"},
        {"id": "process", "type": "agent", "agent": "processor", "depends_on": ["fetch"]},
        {"id": "store", "type": "database", "depends_on": ["process"]},
    ],
}
START_BY_NAME: dict[str, Any] = {"name": "data-pipeline", "input": {"day": "2026-01-31"}, "labels": {"team": "data"}}
BATCH: list[dict[str, Any]] = [START_BY_NAME, {"name": "data-pipeline", "version": 1}]
CANCEL: dict[str, Any] = {"reason": "No longer needed."}
PAUSE: dict[str, Any] = {"reason": "New release."}
PAUSE_WORKFLOW: dict[str, Any] = {"reason": "Until the shop is open again."}

STARTED_BRIEFLY: dict[str, Any] = {
    "id": _ID,
    "name": "data-pipeline",
    "version": 1,
    "status": "pending",
    "existing": False,
}
STARTED: dict[str, Any] = {**STARTED_BRIEFLY, "links": _LINKS, "warnings": []}
SUMMARY: dict[str, Any] = {
    "id": _ID,
    "name": "data-pipeline",
    "version": 1,
    "status": "succeeded",
    "error": None,
    "labels": {"team": "data"},
    "priority": 0,
    "created_at": _CREATED,
    "started_at": _STARTED,
    "finished_at": _FINISHED,
    "retried_at": None,
    "idle_s": 0.0,
    "paused_at": None,
    "ending": None,
    "parent_id": None,
    "created_by": "ann",
    "trace_id": "0198c2f45a3e7c419d3b0f6b1f0e2a77",
    "links": _LINKS,
}
WORKFLOWS_CSV = (
    "id,name,version,status,created_at,started_at,finished_at,seconds,error_type,error_step,error_message,labels,priority,"
    f'parent_id,created_by\r\n{_ID},data-pipeline,1,succeeded,{_CREATED},{_STARTED},{_FINISHED},1.5,,,,"{{""team"":""data""}}",'
    "0,,ann\r\n"
)
WORKFLOW: dict[str, Any] = {
    **SUMMARY,
    "input": {"day": "2026-01-31"},
    "output": {"store": {"record_id": "1"}},
    "paused_by": None,
    "paused_reason": None,
    "latest_version": 2,
    "pinned_version": None,
    "pending_reason": None,
    "budget": None,
    "deadline": None,
    "parent_task_id": None,
    "root_id": None,
    "rerun_of": None,
}
TASK: dict[str, Any] = {
    "id": _TASK,
    "workflow_id": _ID,
    "step": "fetch",
    "path": "fetch",
    "type": "http",
    "status": "succeeded",
    "attempt": 1,
    "queue": "default",
    "worker_id": "1",
    "timeout_override": None,
    "pending_since": _CREATED,
    "scheduled_at": None,
    "started_at": _STARTED,
    "finished_at": _FETCHED,
    "output": {"status": 200, "headers": {}, "body": {"orders": []}},
    "output_from": None,
    "error": None,
    "child_workflow_id": None,
    "trace_id": "0198c2f45a3e7c419d3b0f6b1f0e2a77",
    "span_id": "9c1f3a5be7d20846",
}
DAG: dict[str, Any] = {
    "nodes": [
        {
            "id": step["id"],
            "type": step["type"],
            "status": "running" if index == 0 else "blocked",
            "upstream_failed": False,
            "task_id": str(int(_TASK) + index),
            "attempt": 1 if index == 0 else 0,
            "started_at": _STARTED if index == 0 else None,
            "finished_at": None,
            "kind": "step",
            "parent": None,
            "repeats": None,
            "counts": None,
        }
        for index, step in enumerate(CREATE_WORKFLOW["steps"])
    ],
    "edges": [{"from": "fetch", "to": "process"}, {"from": "process", "to": "store"}],
    "cycles": [],
    "critical_path": ["fetch", "process", "store"],
    "waiting_on": {"process": ["fetch"], "store": ["process"]},
}
REASON: dict[str, Any] = {
    "workflow_id": _ID,
    "task_id": _TASK,
    "step": "fetch",
    "status": "pending",
    "reason": "no_worker_for_queue",
    "explanation": "No live worker serves queue gpu; the last one was heard of 12 min ago.",
    "since": _CREATED,
    "until": None,
    "command": "kubectl set env deployment/workflow-workers -n agents WORKFLOW_QUEUES=default,gpu",
    "details": {"queue": "gpu", "type": "http", "last_worker_seen_at": _CREATED},
}
PICTURE = Picture(
    "data-pipeline@1",
    [Box(node["id"], node["type"], TaskStatus(node["status"])) for node in DAG["nodes"]],
    [[], [0], [1]],
    [0, 1, 2],
)
SPAN: dict[str, Any] = {
    "step": "fetch",
    "path": "fetch",
    "task_id": _TASK,
    "type": "http",
    "attempt": 1,
    "status": "succeeded",
    "worker": "worker-1",
    "queued_at": _CREATED,
    "started_at": _STARTED,
    "finished_at": _FETCHED,
    "wait_s": 0.01,
    "run_s": 0.24,
    "error": None,
    "trace_id": "0198c2f45a3e7c419d3b0f6b1f0e2a77",
    "span_id": "9c1f3a5be7d20846",
    "parent_span_id": "51f0a7c3d9e2b684",
}
_DURATIONS: dict[str, Any] = {"avg_duration": 4.2, "p50": 2.1, "p95": 14.0, "p99": 41.5, "max": 58.9}
_TYPE_STATS: dict[str, Any] = {
    **_DURATIONS,
    "count": 1240,
    "succeeded": 1201,
    "failed": 9,
    "retried": 30,
    "timed_out": 12,
    "lost": 2,
    "running": 3,
    "running_so_far": {"avg_duration": 11.0, "p50": 9.5, "p95": 19.0, "p99": 19.9, "max": 20.1},
}
TASK_STATS: dict[str, Any] = {
    **_TYPE_STATS,
    "by_type": {"llm_inference": _TYPE_STATS},
    "window": 3600.0,
    "sampled": False,
    "covered": 3600.0,
}
SLOW_ATTEMPT: dict[str, Any] = {
    "task_id": _TASK,
    "workflow_id": _ID,
    "workflow_name": "data-pipeline",
    "step": "fetch",
    "type": "http",
    "attempt": 1,
    "status": "running",
    "duration": 93.4,
    "started_at": _STARTED,
    "finished_at": None,
    "worker": "worker-1",
    "timeout": 300.0,
    "timeout_from": "step",
    "links": {
        "workflow": _LINKS["self"],
        "trace": _LINKS["trace"],
        "task_type": "/api/v1/task-types/http",
        "retry": f"/api/v1/tasks/{_TASK}/retry",
    },
}
TASK_TYPE_PATCH: dict[str, Any] = {"timeout": 300}
TASK_TYPE: dict[str, Any] = {
    "name": "llm_inference",
    "builtin": True,
    "description": "Asks a language model through an OpenAI-compatible endpoint",
    "timeout": 300.0,
    "max_attempts": None,
    "effective": {"timeout": {"value": 300.0, "from": "type"}, "max_attempts": {"value": 3, "from": "default"}},
    "created_at": _CREATED,
    "updated_at": _FINISHED,
    "links": {
        "self": "/api/v1/task-types/llm_inference",
        "changes": "/api/v1/task-types/llm_inference/changes",
        "slow": "/api/v1/tasks/slow?type=llm_inference",
    },
}
TASK_TYPE_CHANGE: dict[str, Any] = {
    "at": _FINISHED,
    "by": "ann",
    "changes": {"timeout": {"before": None, "after": 300.0}},
}
LOG_LINE: dict[str, Any] = {
    "time": _FETCHED,
    "level": "info",
    "message": "task succeeded",
    "event": "task.succeeded",
    "task_id": _TASK,
    "step": "fetch",
    "type": "http",
    "attempt": 1,
    "worker": "worker-1",
    "fields": {"outcome": "succeeded", "seconds": 0.24},
}
LOG_TEXT = (
    f'time={_FETCHED} level=info msg="task succeeded" workflow_id={_ID} task_id={_TASK} step=fetch type=http attempt=1'
    " worker=worker-1 outcome=succeeded seconds=0.24\n"
)
EVENTS = (
    f'id: 4711\ndata: {{"time":"{_FETCHED}","level":"info","message":"task succeeded",'
    '"event":"task.succeeded","step":"fetch"}\n\nevent: end\ndata: {"status":"succeeded"}\n\n'
)
CANCELLED: dict[str, Any] = {"id": _ID, "status": "cancelled", "ending": None, "links": _LINKS}
REOPENED: dict[str, Any] = {"id": _ID, "tasks": 2, "links": _LINKS}
ENGINE_PAUSED: dict[str, Any] = {
    "paused": True,
    "since": _CREATED,
    "until": "2026-01-31T12:15:00Z",
    "by": "ann",
    "reason": "New release.",
    "running": 3,
}
ENGINE_RESUMED: dict[str, Any] = {
    "paused": False,
    "since": None,
    "until": None,
    "by": None,
    "reason": None,
    "running": 3,
}
WORKFLOW_PAUSED: dict[str, Any] = {
    "id": _ID,
    "status": "running",
    "paused": True,
    "since": _STARTED,
    "by": "ann",
    "reason": "Until the shop is open again.",
    "links": _LINKS,
}
WORKFLOW_RESUMED: dict[str, Any] = {**WORKFLOW_PAUSED, "paused": False, "since": None, "by": None, "reason": None}
LOCK: dict[str, Any] = {
    "kind": "lock",
    "key": "ledger",
    "used": 1,
    "holding": 1,
    "waiting": 1,
    "capacity": None,
    "holders": [
        {
            "workflow_id": _ID,
            "task_id": _TASK,
            "step": "fetch",
            "scope": "workflow",
            "units": 1,
            "since": _STARTED,
        }
    ],
    "waiters": [
        {
            "workflow_id": "0198c2f4-6b21-7d02-8a51-6d1c5b9e4f10",
            "task_id": "6553600",
            "step": "fetch",
            "scope": "task",
            "units": 1,
            "since": _FETCHED,
        }
    ],
}
LOCKS_RELEASED: dict[str, Any] = {"id": _ID, "locks": ["ledger"], "tasks": 1, "links": _LINKS}
SIGNAL_PAYLOAD: dict[str, Any] = {"order": "A-17", "amount": 12.5}
SIGNAL_SENT: dict[str, Any] = {
    "seq": "481",
    "workflow_id": _ID,
    "name": "paid",
    "at": _FETCHED,
    "links": {"workflow": _LINKS["self"], "signals": f"{_LINKS['self']}/signals"},
}
SIGNAL: dict[str, Any] = {
    "seq": "481",
    "name": "paid",
    "payload": SIGNAL_PAYLOAD,
    "by": "shop",
    "at": _FETCHED,
    "taken_by": _TASK,
    "taken_at": _FINISHED,
}
_APPROVAL_ID = "0198c2f4-7b1d-7aa0-8f35-2b9d7c1e4a61"
APPROVAL: dict[str, Any] = {
    "id": _APPROVAL_ID,
    "workflow_id": _ID,
    "workflow_name": "refunds",
    "task_id": _TASK,
    "step": "approve",
    "status": "open",
    "prompt": "Refund 120 EUR to customer 7?",
    "form_schema": {"type": "object", "properties": {"amount": {"type": "number", "maximum": 120}}},
    "assignees": ["finance"],
    "outcomes": ["approved", "rejected"],
    "created_at": _FETCHED,
    "expires_at": "2026-02-01T12:00:00Z",
    "outcome": None,
    "data": None,
    "by": None,
    "at": None,
    "links": {"self": f"/api/v1/approvals/{_APPROVAL_ID}", "workflow": _LINKS["self"]},
}
APPROVAL_ANSWER: dict[str, Any] = {"outcome": "approved", "data": {"amount": 100}, "by": "ann"}
APPROVAL_ANSWERED: dict[str, Any] = {**APPROVAL, "status": "answered", **APPROVAL_ANSWER, "at": _FINISHED}
_DELIVERY_ID = "0198c2f4-8c02-7d11-9e6a-51c0b7d3f2a8"
DELIVERY: dict[str, Any] = {
    "id": _DELIVERY_ID,
    "workflow_id": _ID,
    "task_id": _TASK,
    "name": "order.paid",
    "payload": SIGNAL_PAYLOAD,
    "to": "webhook",
    "target": "https://example.com/hooks/orders",
    "status": "dead",
    "tries": 20,
    "created_at": _FETCHED,
    "due_at": None,
    "delivered_at": None,
    "error": "POST https://example.com/hooks/orders answered 503 Service Unavailable",
    "receivers": None,
    "links": {"workflow": _LINKS["self"], "retry": f"/api/v1/outbox/{_DELIVERY_ID}/retry"},
}
REDELIVERED: dict[str, Any] = {"dry_run": False, "done": 12, "unchanged": 0, "refused": 0, "next": None}
_QUEUE_LOAD = {"load": 42, "pending": 26, "running": 16, "slots": 20}
LOAD: dict[str, Any] = {**_QUEUE_LOAD, "by_queue": {"default": _QUEUE_LOAD}}
WORKER: dict[str, Any] = {
    "id": "1",
    "name": "worker-1",
    "host": "workflow-workers-6d4f9",
    "pid": 7,
    "version": "0.1.0",
    "queues": ["default"],
    "task_types": ["agent", "database", "http", "llm_inference", "noop", "transform"],
    "status": "active",
    "status_reason": None,
    "drained_at": None,
    "drained_by": None,
    "concurrency": 50,
    "busy": 1,
    "current_tasks": [_TASK],
    "last_heartbeat_at": _CREATED,
    "age_s": 2.5,
    "started_at": _CREATED,
    "rss_bytes": 104857600,
}
DRAINED_WORKER: dict[str, Any] = {
    **WORKER,
    "status": "draining",
    "status_reason": "operator",
    "drained_at": _FINISHED,
    "drained_by": "ann",
}
DEAD_WORKER: dict[str, Any] = {
    **WORKER,
    "status": "dead",
    "age_s": 61.0,
    "orphaned_tasks": [_TASK],
    "tasks": [
        {
            "task_id": _TASK,
            "path": "fetch",
            "type": "http",
            "workflow_id": _ID,
            "workflow_name": "data-pipeline",
            "attempt": 1,
            "taken_back_at": _FINISHED,
            "status": "running",
        }
    ],
}
ALERT: dict[str, Any] = {
    "name": "WorkflowQueueUnserved",
    "subject": "gpu",
    "severity": "warning",
    "state": "firing",
    "summary": "No worker serves the queue gpu",
    "value": 12.0,
    "threshold": 0.0,
    "since": _CREATED,
    "fires_at": _FINISHED,
    "links": {"page": "/admin/alerts/WorkflowQueueUnserved"},
}
SCHEDULE: dict[str, Any] = {
    "name": "data-pipeline",
    "version": 2,
    "paused": False,
    "since": None,
    "entries": [
        {
            "position": 0,
            "cron": "0 6 * * *",
            "timezone": "Europe/Berlin",
            "overlap": "skip",
            "catchup": "latest",
            "input": None,
            "next_times": [f"2026-02-0{day}T05:00:00Z" for day in range(1, 6)],
            "last_at": "2026-01-31T05:00:00Z",
            "last_workflow_id": _ID,
            "last_error": None,
            "started": 12,
            "skipped": 0,
            "missed": 0,
        }
    ],
    "links": {"self": "/api/v1/schedules/data-pipeline", "definition": "/api/v1/definitions/data-pipeline"},
}
SCHEDULE_PAUSED: dict[str, Any] = {
    **SCHEDULE,
    "paused": True,
    "since": _STARTED,
    "entries": [{**SCHEDULE["entries"][0], "next_times": []}],
}
DUE_TIMES: dict[str, Any] = {
    "total": 2,
    "started": 1,
    "missing": 1,
    "first": "2026-01-29T05:00:00Z",
    "last": "2026-01-30T05:00:00Z",
    "times": [
        {"at": "2026-01-29T05:00:00Z", "position": 0, "workflow_id": None},
        {"at": "2026-01-30T05:00:00Z", "position": 0, "workflow_id": _ID},
    ],
}
BACKFILLED: dict[str, Any] = {
    "id": _ID,
    "status": "pending",
    "scheduled_for": "2026-01-30T05:00:00Z",
    "existing": False,
}
BUDGET: dict[str, Any] = {"tokens": {"soft": 150_000, "hard": 200_000}}
BUDGET_USAGE: dict[str, Any] = {
    "workflow_id": _ID,
    "tokens": {"used": 120_500, "soft": 150_000, "hard": 200_000},
    "cost_usd": {"used": 1.25, "soft": None, "hard": 5},
    "steps": {"used": 12, "soft": None, "hard": None},
    "on_exceeded": "pause",
    "exceeded": [],
    "exceeded_at": None,
}
PINNED: dict[str, Any] = {
    "id": _ID,
    "name": "data-pipeline",
    "status": "pending",
    "version": 2,
    "latest_version": 3,
    "pinned_version": 2,
    "links": _LINKS,
}
VERSIONS: dict[str, Any] = {
    "name": "data-pipeline",
    "latest_version": 1,
    "pinned_version": None,
    "versions": [
        {
            "version": 1,
            "hash": "d0a1f7c3b1b5c7c1a3c0a0b6f6d5e3b4a1c2d3e4f5061728394a5b6c7d8e9f00",
            "created_at": _CREATED,
            "active_runs": 4,
            "pinned_runs": 0,
            "is_default": True,
        }
    ],
}
ORPHANED: dict[str, Any] = {
    "id": _ID,
    "name": "data-pipeline",
    "version": 1,
    "status": "running",
    "reason": "worker_dead",
    "since": _STARTED,
    "tasks": [
        {
            "id": _TASK,
            "step": "fetch",
            "status": "running",
            "attempt": 1,
            "worker_id": "1",
            "worker": "worker-1",
            "lease_until": _FINISHED,
            "reason": "worker_dead",
            "since": _STARTED,
        }
    ],
    "links": _LINKS,
}
RECOVER: dict[str, Any] = {"ids": [_ID]}
RECOVERY: dict[str, Any] = {
    "dry_run": False,
    "recovered": [_ID],
    "cancelled": [],
    "skipped": [{"id": "0198c2f4-0000-7000-8000-000000000000", "why": "It is not orphaned."}],
}
RELOAD: dict[str, Any] = {
    "reloaded": 2,
    "added": ["nightly-report"],
    "changed": ["data-pipeline"],
    "invalid": [
        {
            "file": "broken.yaml",
            "errors": [{"pointer": "/steps/1/type", "code": "unknown-step-type", "message": "'htpp': no such type"}],
        }
    ],
}
HEALTH: dict[str, Any] = {
    "status": "degraded",
    "version": "0.1.0",
    "accepting": True,
    "paused": False,
    "auth": "token",
    "deadlock_detection": "warn",
    "checks": {
        "postgres": {"status": "ok"},
        "redis": {"status": "down", "error": "Redis cannot be reached."},
        "workers": {"status": "ok", "active": 2},
        "agent_mesh": {"status": "ok"},
        "agent_brain": {"status": "ok"},
    },
}
SIGN: dict[str, Any] = {"status": "ok"}
PROBLEM: dict[str, Any] = {
    "type": "urn:workflow-engine:problem:unknown-dependency",
    "title": "Unknown dependency",
    "status": 422,
    "detail": "/steps/1/depends_on/0: there is no step 'fetsh'; did you mean \"fetch\"?",
    "code": "unknown-dependency",
    "instance": "5f1f0a8e6c1b4c3f9a0f6f0a3c0d9a52",
    "help": "/api/v1/problems/unknown-dependency",
    "errors": [
        {
            "pointer": "/steps/1/depends_on/0",
            "code": "unknown-dependency",
            "message": "there is no step 'fetsh'; did you mean \"fetch\"?",
        }
    ],
}
HEALTH_DOWN: dict[str, Any] = {
    **HEALTH,
    "accepting": False,
    "checks": {**HEALTH["checks"], "postgres": {"status": "down", "error": "Postgres cannot be reached."}},
}
