"""Examples of the OpenAPI document: one operation on many workflows. See `examples`."""

from __future__ import annotations

from typing import Any

from workflow_engine.api.examples import SUMMARY

_OTHER = "0198c2f4-6b21-7d02-8a51-6d1c5b9e4f10"
_ONE = {"id": SUMMARY["id"], "name": SUMMARY["name"]}

RETRY: dict[str, Any] = {"ids": [SUMMARY["id"], _OTHER]}
CANCEL: dict[str, Any] = {**RETRY, "reason": "No longer needed."}
CANCELLED: dict[str, Any] = {
    "dry_run": False,
    "done": 1,
    "unchanged": 0,
    "refused": 1,
    "results": [
        {**_ONE, "status": "running", "outcome": "done"},
        {
            "id": _OTHER,
            "name": "data-pipeline",
            "status": "succeeded",
            "outcome": "refused",
            "code": "invalid-transition",
            "why": "The workflow has already succeeded.",
        },
    ],
    "next": None,
}
RETRIED: dict[str, Any] = {
    "dry_run": False,
    "done": 1,
    "unchanged": 0,
    "refused": 0,
    "results": [{**_ONE, "status": "failed", "outcome": "done", "tasks": 2}],
    "next": "/api/v1/workflows/bulk/retry?status=failed&limit=1&cursor=MDE5OGMyZjQ",
}
