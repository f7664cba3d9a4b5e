"""What spans are called and identified by, in every form a trace has. The one place for names of attributes."""

from __future__ import annotations

import hashlib
from uuid import UUID

SERVICE_NAME = "workflow-engine"
SCOPE = "workflow_engine"

WORKFLOW_ID = "workflow.id"
WORKFLOW_NAME = "workflow.name"
WORKFLOW_VERSION = "workflow.version"
WORKFLOW_STATUS = "workflow.status"
STEP_ID = "workflow.step.id"
TASK_ID = "workflow.task.id"
TASK_TYPE = "workflow.task.type"
ATTEMPT = "workflow.attempt"
OUTCOME = "workflow.attempt.outcome"
WAIT_SECONDS = "workflow.wait_seconds"
WORKER = "workflow.worker"
ERROR_TYPE = "error.type"
EXCEPTION = "exception"  # the name of an event
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"


def trace_id(workflow_id: UUID) -> str:
    """Of all that belongs to a workflow: its id as 32 hexadecimal digits."""
    return workflow_id.hex


def root_span_id(workflow_id: UUID) -> str:
    """Of the workflow as a whole, the parent of its attempts."""
    return _span_id(workflow_id.hex)


def attempt_span_id(task_id: int, attempt: int) -> str:
    """Of one attempt; the same whenever and by whomever it is made."""
    return _span_id(f"{task_id}/{attempt}")


def _span_id(name: str) -> str:
    """16 hexadecimal digits, never all zero (which OpenTelemetry takes for no id)."""
    found = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    return found if found.strip("0") else "1".rjust(16, "0")
