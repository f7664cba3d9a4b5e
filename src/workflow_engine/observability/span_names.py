"""What spans are called and identified by, in every form a trace has. The one place for names of attributes."""

from __future__ import annotations

import hashlib
from uuid import UUID

from workflow_engine.observability.trace_context import trace_of

ENGINE_SERVICE, WORKER_SERVICE = "workflow-engine", "workflow-workers"
"""What processes call themselves, unless OTEL_SERVICE_NAME says otherwise: as their deployments are called."""

SCOPE = "workflow_engine"

WORKFLOW_ID = "workflow.id"
WORKFLOW_NAME = "workflow.name"
WORKFLOW_VERSION = "workflow.version"
WORKFLOW_STATUS = "workflow.status"
STEP_ID = "workflow.step.id"
STEP_PATH = "workflow.step.path"
TASK_ID = "workflow.task.id"
TASK_TYPE = "workflow.task.type"
ATTEMPT = "workflow.attempt"
OUTCOME = "workflow.attempt.outcome"
WAIT_SECONDS = "workflow.wait_seconds"
WORKER = "workflow.worker"
LINK = "workflow.link"  # of a link: why it is there
PREVIOUS_ATTEMPT, DEPENDENCY = "previous_attempt", "dependency"

# OpenTelemetry's conventions for messaging: a worker takes a task from its queue, as a message, and processes it.
MESSAGING_SYSTEM = "messaging.system"
OUR_SYSTEM = "workflow_engine"
MESSAGING_DESTINATION = "messaging.destination.name"
MESSAGING_OPERATION = "messaging.operation.name"
MESSAGING_OPERATION_TYPE = "messaging.operation.type"
PROCESS = "process"

# Its conventions for requests by HTTP. The URL is not among them: its path and query may hold secrets.
HTTP_METHOD = "http.request.method"
HTTP_STATUS = "http.response.status_code"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"

ERROR_TYPE = "error.type"
EXCEPTION = "exception"  # the name of an event
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"


def process(type: str) -> str:
    """What the span of an attempt is called."""
    return f"{PROCESS} {type}"


def trace_id(workflow_id: UUID | str, traceparent: str | None) -> str:
    """Of all that belongs to a workflow: the trace it was started in, else its id as 32 hexadecimal digits."""
    return trace_of(traceparent) if traceparent else _hex(workflow_id)


def root_span_id(workflow_id: UUID | str) -> str:
    """Of the workflow as a whole, the parent of its attempts."""
    return _span_id(_hex(workflow_id))


def retried_span_id(workflow_id: UUID | str, end: int) -> str:
    """Of a workflow from a retry until it ended once more, which is the event `end`."""
    return _span_id(f"{_hex(workflow_id)}/{end}")


def attempt_span_id(task_id: int, attempt: int) -> str:
    """Of one attempt; the same whenever and by whomever it is made."""
    return _span_id(f"{task_id}/{attempt}")


def _span_id(name: str) -> str:
    """16 hexadecimal digits, never all zero (which OpenTelemetry takes for no id). As workflow.span_id in SQL."""
    found = hashlib.sha256(name.encode()).hexdigest()[:16]
    return found if found.strip("0") else "1".rjust(16, "0")


def _hex(workflow_id: UUID | str) -> str:
    return workflow_id.hex if isinstance(workflow_id, UUID) else workflow_id.replace("-", "")
