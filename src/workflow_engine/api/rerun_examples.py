"""Examples of the OpenAPI document: a workflow that runs again, a task that does not. See `examples`."""

from __future__ import annotations

from typing import Any

from workflow_engine.api.examples import TASK, WORKFLOW
from workflow_engine.api.views import links

_NEW = "0198c2f4-6b21-7d02-8a51-6d1c5b9e4f10"

RERUN: dict[str, Any] = {"from": "process", "input": {"day": "2026-01-30"}}
DRY: dict[str, Any] = {
    "id": None,
    "rerun_of": WORKFLOW["id"],
    "name": "data-pipeline",
    "version": 1,
    "status": None,
    "again": [{"step": "process", "ran": True}, {"step": "store", "ran": False}],
    "kept": [{"step": "fetch", "status": "succeeded"}],
    "effects": [{"step": "process", "inside": "process", "type": "agent", "effect": "runs an agent"}],
    "warnings": [
        "What these steps did outside is done again: process.",
        "The results that are kept were made from the old input.",
    ],
    "links": {},
}
RERAN: dict[str, Any] = {**DRY, "id": _NEW, "status": "pending", "links": links(_NEW)}
SKIP: dict[str, Any] = {"output": {"orders": []}, "reason": "The shop is closed today."}
SKIPPED: dict[str, Any] = {**TASK, "attempt": 0, "output": {"orders": []}, "output_from": "operator", "worker_id": None}
