"""What a worker offers to run."""

from __future__ import annotations

from typing import Any

from workflow_engine.execution.orchestration import ORCHESTRATED
from workflow_engine.handlers.registry import Registry


def offers(handlers: Registry) -> list[dict[str, Any]]:
    """The task types that a worker with these handlers can run, as it registers them; sorted by name.

    Those that the engine does itself are among them: every worker can run them.
    """
    found: list[dict[str, Any]] = [
        {"name": one.type, "description": one.description, "timeout": None, "max_attempts": None}
        for one in ORCHESTRATED.values()
    ]
    for handler in map(handlers.get, handlers.types):
        found.append({
            "name": handler.type,
            "description": handler.description,
            "timeout": handler.timeout,
            "max_attempts": handler.max_attempts,
        })  # fmt: skip
    return sorted(found, key=lambda offer: str(offer["name"]))
