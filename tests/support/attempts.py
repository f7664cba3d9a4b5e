"""Plans of one step and claims of it, made by hand, and the runs of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import structlog

from workflow_engine.definition.plan import Plan, PlanStep
from workflow_engine.definition.templates import Template
from workflow_engine.execution import Limits, execute
from workflow_engine.handlers.base import Handler, TaskContext
from workflow_engine.handlers.registry import Registry
from workflow_engine.records import Claim, Completion

Handle = Callable[[dict[str, Any], TaskContext], Awaitable[Any]]


def step(type: str = "work", **fields: Any) -> PlanStep:
    known: dict[str, Any] = {
        "index": 0, "id": "a", "type": type, "queue": "default", "priority": 0, "dependencies": (), "ordering": (),
        "successors": (), "references": (), "uses_input": True, "inputs": None, "output": None, "when": None,
        "idempotency_key": None, "retries": None, "timeout": None, "on_error": "fail",
    }  # fmt: skip
    for name in ("inputs", "output"):
        if name in fields:
            fields[name] = Template(fields[name])
    return PlanStep(**{**known, **fields})


def plan(*steps: PlanStep) -> Plan:
    return Plan("tried", {}, True, 0, {}, None, steps)


def claim(**fields: Any) -> Claim:
    known: dict[str, Any] = {
        "task_id": 65536, "workflow_id": "0198f3a2-7c1e-7000-8000-000000000001", "workflow_name": "tried",
        "workflow_version": 1, "version_id": 1, "step_index": 0, "attempt": 1, "tries": 0, "lease_token": "t",
        "wait_seconds": 0.0, "elapsed_seconds": 0.0, "timeout": None, "timeout_is_override": False, "labels": {},
        "workflow_started_at": "2026-01-31T12:00:00Z", "input": {}, "steps": None,
    }  # fmt: skip
    return Claim(**{**known, **fields})


async def run(
    step: PlanStep,
    claim: Claim,
    handle: Handle | None = None,
    *,
    payload_bytes: int = 1 << 20,
    log: Any = None,
    **options: Any,
) -> Completion:
    handlers = Registry({"work": Handler("work", handle)} if handle else {})
    ended = await execute(
        claim, plan(step), handlers, Limits(30, payload_bytes), log or structlog.get_logger(), **options
    )
    assert ended is not None
    return ended


def resumed(before: Completion, /, *, due: bool = False, elapsed: float = 0.0, **found: Any) -> Claim:
    """The next claim of a task that waits, with what came of it, as Postgres tells it."""
    assert before.awaits is not None, before
    awaits = {name: value for name, value in before.awaits.items() if name != "instances"}
    if due:
        awaits["until"] = "2026-01-31T13:00:00Z"
    told = orjson.loads(orjson.dumps({"awaits": awaits, "due": due, **found}))
    return claim(attempt=before.attempt + 1, resumed=told, elapsed_seconds=elapsed)


def scopes(outputs: list[Any], *, position: int = 0, steps: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Scopes that have ended well."""
    found = {"ended": True, "status": "succeeded", "outputs": outputs, "position": position}
    return found if steps is None else {**found, "steps": steps}


def failed_scopes(type: str = "user.broken", **fields: Any) -> dict[str, Any]:
    error = {"type": type, "message": "Broken.", "retryable": True, "attempt": 3, "details": {}, **fields}
    return {"ended": True, "status": "failed", "position": 0, "error": error}


def output(ended: Completion) -> Any:
    assert ended.outcome == "succeeded", ended
    assert ended.output is not None
    return orjson.loads(ended.output)


def error(ended: Completion) -> dict[str, Any]:
    assert ended.outcome in ("failed", "retried"), ended
    assert ended.error is not None
    return ended.error
