"""A workflow's trace in OpenTelemetry's JSON form (OTLP/JSON, `ExportTraceServiceRequest`): any collector takes it.

A span must have an end: what still runs ends at the time of the export, and says that it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from workflow_engine.observability import span_names as names
from workflow_engine.records import Attempt, WorkflowSummary
from workflow_engine.settings import VERSION

_INTERNAL, _CONSUMER = 1, 5  # span kinds: the workflow as a whole, what a worker took from the queue
_UNSET, _OK, _ERROR = 0, 1, 2  # status codes
_STATUS = {"succeeded": _OK, "failed": _ERROR, "retried": _ERROR, "lost": _ERROR}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def otlp_trace(workflow: WorkflowSummary, attempts: Sequence[Attempt], now: datetime) -> dict[str, Any]:
    """The workflow as the root span and each attempt as a child of it."""
    common = {
        names.WORKFLOW_ID: str(workflow.id),
        names.WORKFLOW_NAME: workflow.name,
        names.WORKFLOW_VERSION: workflow.version,
    }
    root = {
        "traceId": names.trace_id(workflow.id),
        "spanId": names.root_span_id(workflow.id),
        "name": workflow.name,
        "kind": _INTERNAL,
        "startTimeUnixNano": _nanoseconds(workflow.created_at),
        "endTimeUnixNano": _nanoseconds(workflow.finished_at or now),
        "attributes": _attributes({**common, names.WORKFLOW_STATUS: workflow.status}),
        "status": _status(workflow.status, workflow.error),
    }
    spans = [root, *(_span(workflow, attempt, common, now) for attempt in attempts)]
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes({"service.name": names.SERVICE_NAME})},
                "scopeSpans": [{"scope": {"name": names.SCOPE, "version": VERSION}, "spans": spans}],
            }
        ]
    }


def _span(workflow: WorkflowSummary, attempt: Attempt, common: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    error = attempt.error
    end = attempt.ended_at or max(now, attempt.started_at)
    wait = attempt.pending_since and max((attempt.started_at - attempt.pending_since).total_seconds(), 0.0)
    attributes = {
        **common,
        names.STEP_ID: attempt.step,
        names.TASK_ID: str(attempt.task_id),
        names.TASK_TYPE: attempt.type,
        names.ATTEMPT: attempt.attempt,
        names.OUTCOME: attempt.outcome or "running",
        names.WORKER: attempt.worker,
        names.WAIT_SECONDS: wait,
        names.ERROR_TYPE: error and error.get("type"),
    }
    span = {
        "traceId": names.trace_id(workflow.id),
        "spanId": names.attempt_span_id(attempt.task_id, attempt.attempt),
        "parentSpanId": names.root_span_id(workflow.id),
        "name": attempt.step,
        "kind": _CONSUMER,
        "startTimeUnixNano": _nanoseconds(attempt.started_at),
        "endTimeUnixNano": _nanoseconds(end),
        "attributes": _attributes(attributes),
        "status": _status(attempt.outcome or "running", error),
    }
    if error:
        said = {names.EXCEPTION_TYPE: error.get("type"), names.EXCEPTION_MESSAGE: error.get("message")}
        span["events"] = [{"timeUnixNano": _nanoseconds(end), "name": names.EXCEPTION, "attributes": _attributes(said)}]
    return span


def _status(status: str, error: Mapping[str, Any] | None) -> dict[str, Any]:
    code = _STATUS.get(status, _UNSET)
    message = str(error.get("message", "")) if error and code == _ERROR else ""
    return {"code": code, "message": message} if message else {"code": code}


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """In OTLP's form; 64-bit integers are strings there. What is None is left out."""
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": str(value)}


def _nanoseconds(at: datetime) -> str:
    passed = at - _EPOCH
    return str((passed.days * 86_400 + passed.seconds) * 1_000_000_000 + passed.microseconds * 1_000)
