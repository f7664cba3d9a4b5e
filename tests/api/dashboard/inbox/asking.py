"""What the pages of this folder are about: questions, schedules, deliveries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from ...conftest import PlayedWorker

NOBODY = "00000000-0000-0000-0000-000000000007"
STEPS = [{"id": "ask", "type": "noop"}]


def begin(api: httpx.Client, worker: PlayedWorker, name: str) -> tuple[str, dict[str, Any]]:
    """A workflow, and the claim of its only task."""
    workflow = str(api.post("/api/v1/workflows", json={"name": name, "steps": STEPS}).raise_for_status().json()["id"])
    return workflow, next(claim for claim in worker.claim() if claim["workflow_id"] == workflow)


def ask(api: httpx.Client, worker: PlayedWorker, prompt: str, due: timedelta | None = None, **more: Any) -> str:
    """The id of an approval."""
    workflow, claim = begin(api, worker, "asks")
    until = {} if due is None else {"until": (datetime.now(UTC) + due).isoformat()}
    worker.end(claim, "waiting", next="waiting", awaits={"kind": "approval", "prompt": prompt, **until, **more})
    (approval,) = api.get("/api/v1/approvals", params={"workflow_id": workflow}).json()
    return str(approval["id"])


def emit(api: httpx.Client, worker: PlayedWorker, name: str = "paid", **more: Any) -> str:
    """The workflow that has emitted something."""
    workflow, claim = begin(api, worker, "emits")
    worker.end(claim, effects={"emit": {"name": name, "payload": {"order": 7}, "to": "signal", **more}})
    return workflow


def define(api: httpx.Client, name: str, *entries: dict[str, Any]) -> None:
    body = {"name": name, "steps": STEPS, "schedule": [*entries]}
    api.post("/api/v1/definitions", json=body).raise_for_status()
