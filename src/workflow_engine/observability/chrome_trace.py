"""A workflow's trace in the form of Chrome's tracing: https://ui.perfetto.dev and chrome://tracing open it.

One row for each task, in the order of the definition; on it, for each attempt, how long it waited and how long it ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from workflow_engine.observability import span_names as names
from workflow_engine.records import Attempt, WorkflowSummary

_PROCESS = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def chrome_trace(workflow: WorkflowSummary, attempts: Sequence[Attempt], now: datetime) -> dict[str, Any]:
    """Trace events, times in microseconds. What still runs ends now."""
    steps = {attempt.task_id: attempt.step for attempt in sorted(attempts, key=lambda a: a.task_id)}
    row = {task_id: n for n, task_id in enumerate(steps, start=1)}
    events = [_named("process_name", 0, f"{workflow.name}@{workflow.version} {workflow.id}")]
    events += [_named("thread_name", row[task_id], step) for task_id, step in steps.items()]
    for attempt in attempts:
        end = attempt.ended_at or max(now, attempt.started_at)
        details = {
            names.WORKFLOW_ID: str(workflow.id),
            names.TASK_ID: str(attempt.task_id),
            names.TASK_TYPE: attempt.type,
            names.ATTEMPT: attempt.attempt,
            names.OUTCOME: attempt.outcome or "running",
            names.WORKER: attempt.worker,
        }
        if attempt.error:
            details[names.ERROR_TYPE] = attempt.error.get("type")
            details[names.EXCEPTION_MESSAGE] = attempt.error.get("message")
        at, begun = row[attempt.task_id], attempt.started_at
        if attempt.pending_since and attempt.pending_since < begun:
            events.append(_complete("wait", at, attempt.pending_since, begun, name="waiting", details={}))
        name = f"{attempt.step} #{attempt.attempt}"
        events.append(_complete("run", at, begun, end, name=name, details=details))
    return {"displayTimeUnit": "ms", "traceEvents": events}


def _named(kind: str, row: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": _PROCESS, "tid": row, "args": {"name": name}}


def _complete(
    category: str, row: int, begin: datetime, end: datetime, *, name: str, details: dict[str, Any]
) -> dict[str, Any]:
    return {
        "ph": "X",
        "cat": category,
        "name": name,
        "pid": _PROCESS,
        "tid": row,
        "ts": _microseconds(begin),
        "dur": max(_microseconds(end) - _microseconds(begin), 0),
        "args": details,
    }


def _microseconds(at: datetime) -> int:
    passed = at - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
