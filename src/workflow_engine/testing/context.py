"""The context that a worker would give a handler."""

from __future__ import annotations

from typing import Any

import structlog

from workflow_engine.handlers.base import TaskContext


def task_context(**changes: Any) -> TaskContext:
    """The context of a first attempt, made up but plausible.

    Args:
        changes: Fields of `TaskContext` that matter to the test, such as `attempt=2` or `dependencies={"fetch": {}}`.
    """
    fields: dict[str, Any] = {
        "workflow_id": "0198f3a2-7c1e-7000-8000-000000000001",
        "workflow_name": "data-pipeline",
        "workflow_version": 1,
        "task_id": "65536",
        "step": "fetch",
        "path": "fetch",
        "attempt": 1,
        "idempotency_key": "0198f3a2-7c1e-7000-8000-000000000001/fetch",
        "timeout": 30.0,
        "dependencies": {},
        "lease_token": "00000000-0000-4000-8000-000000000000",
        "log": structlog.get_logger(),
    }
    return TaskContext(**{**fields, **changes})
