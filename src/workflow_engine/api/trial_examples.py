"""Examples of the OpenAPI document: a step that is tried twice, in test mode. See `examples`."""

from __future__ import annotations

from typing import Any

from workflow_engine.definition.diff import as_yaml

_NOON, _LATER = "2026-01-31T12:00:00Z", "2026-01-31T12:00:05Z"
_ERROR = {
    "type": "http.503",
    "message": "The test lets this attempt fail.",
    "retryable": True,
    "attempt": 1,
    "details": {},
}

REQUEST: dict[str, Any] = {
    "definition": {
        "name": "data-pipeline",
        "steps": [
            {
                "id": "fetch",
                "type": "http",
                "url": "https://example.com/${ input.day }",
                "retries": {"max_attempts": 2, "initial_delay": "5s", "jitter": "none"},
            }
        ],
    },
    "input": {"day": "2026-01-31"},
    "outputs": {"fetch": [{"error": {"type": "http.503"}}, {"status": 200, "body": [1, 2]}]},
    "now": _NOON,
}
YAML = as_yaml(REQUEST)
_EVENTS: tuple[tuple[str, str, str | None, int | None, Any], ...] = (
    (_NOON, "workflow.created", None, None, None),
    (_NOON, "workflow.started", None, None, None),
    (_NOON, "task.started", "fetch", 1, None),
    (_NOON, "task.retried", "fetch", 1, {"error": _ERROR}),
    (_LATER, "task.started", "fetch", 2, None),
    (_LATER, "task.succeeded", "fetch", 2, None),
    (_LATER, "workflow.succeeded", None, None, None),
)
TRIAL: dict[str, Any] = {
    "status": "succeeded",
    "output": {"fetch": {"status": 200, "body": [1, 2]}},
    "error": None,
    "stopped": None,
    "waits_for": [],
    "tasks": [
        {
            "path": "fetch",
            "step": "fetch",
            "type": "http",
            "status": "succeeded",
            "attempt": 2,
            "output": {"status": 200, "body": [1, 2]},
            "error": None,
            "started_at": _NOON,
            "finished_at": _LATER,
        }
    ],
    "events": [
        {"at": at, "type": type, "path": path, "attempt": attempt, "data": data}
        for at, type, path, attempt, data in _EVENTS
    ],
    "emitted": [],
    "started_at": _NOON,
    "duration": 5.0,
    "unused": {"outputs": [], "signals": [], "approvals": []},
    "warnings": [],
}
