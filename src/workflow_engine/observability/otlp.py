"""A workflow's trace in OpenTelemetry's JSON form (OTLP/JSON, `ExportTraceServiceRequest`): any collector takes it.

A span must have an end: what still runs ends at the time of the export, and says that it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from workflow_engine.observability import span_facts
from workflow_engine.observability import span_names as names
from workflow_engine.observability.trace_context import span_of
from workflow_engine.records import Attempt, WorkflowSummary
from workflow_engine.settings import VERSION

_INTERNAL, _CONSUMER = 1, 5  # span kinds: the workflow as a whole, what a worker took from the queue
_UNSET, _OK, _ERROR = 0, 1, 2  # status codes
_STATUS = {
    **dict.fromkeys(span_facts.OK_OUTCOMES, _OK),
    **dict.fromkeys(span_facts.ERROR_OUTCOMES, _ERROR),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def otlp_trace(workflow: WorkflowSummary, attempts: Sequence[Attempt], now: datetime) -> dict[str, Any]:
    """The workflow as the root span and each attempt as a child of it."""
    common = span_facts.of_workflow(str(workflow.id), workflow.name, workflow.version)
    error = workflow.error
    root = {
        "traceId": names.trace_id(workflow.id, workflow.traceparent),
        "spanId": names.root_span_id(workflow.id),
        "name": workflow.name,
        "kind": _INTERNAL,
        "startTimeUnixNano": _nanoseconds(workflow.created_at),
        "endTimeUnixNano": _nanoseconds(workflow.finished_at or now),
        "attributes": _attributes(
            {**common, names.WORKFLOW_STATUS: workflow.status, names.ERROR_TYPE: error and error.get("type")}
        ),
        "status": _status(workflow.status, workflow.error),
    }
    if workflow.traceparent is not None:
        root["parentSpanId"] = span_of(workflow.traceparent)
    spans = [root, *(_span(workflow, attempt, common, now) for attempt in attempts)]
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes({"service.name": names.ENGINE_SERVICE})},
                "scopeSpans": [{"scope": {"name": names.SCOPE, "version": VERSION}, "spans": spans}],
            }
        ]
    }


def _span(workflow: WorkflowSummary, attempt: Attempt, common: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    error = attempt.error
    end = attempt.ended_at or max(now, attempt.started_at)
    outcome = attempt.outcome or "running"
    wait = attempt.pending_since and max((attempt.started_at - attempt.pending_since).total_seconds(), 0.0)
    of_attempt = span_facts.of_attempt(
        task_id=attempt.task_id, attempt=attempt.attempt, step=attempt.step, path=attempt.path, type=attempt.type,
        queue=attempt.queue, worker=attempt.worker,
    )  # fmt: skip
    trace_id = names.trace_id(workflow.id, workflow.traceparent)
    span = {
        "traceId": trace_id,
        "spanId": names.attempt_span_id(attempt.task_id, attempt.attempt),
        "parentSpanId": names.root_span_id(workflow.id),
        "name": names.process(attempt.type),
        "kind": _CONSUMER,
        "startTimeUnixNano": _nanoseconds(attempt.started_at),
        "endTimeUnixNano": _nanoseconds(end),
        "attributes": _attributes(
            {**common, **of_attempt, names.WAIT_SECONDS: wait, **span_facts.of_end(outcome, error)}
        ),
        "status": _status(outcome, error),
    }
    if error:
        said = _attributes(span_facts.of_error(error))
        span["events"] = [{"timeUnixNano": _nanoseconds(end), "name": names.EXCEPTION, "attributes": said}]
    if attempt.attempt > 1:
        before = names.attempt_span_id(attempt.task_id, attempt.attempt - 1)
        why = _attributes({names.LINK: names.PREVIOUS_ATTEMPT})
        span["links"] = [{"traceId": trace_id, "spanId": before, "attributes": why}]
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
