"""What an event says to people: its level, its message, and what else is worth a field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Level = Literal["info", "warning"]

_MESSAGES = {"task.started": "task picked up"}  # as its worker says it; all others are called as they are
_OURS = frozenset({"event", "level", "time", "role", "module", "error"})


def describe(
    type: str, data: Mapping[str, Any] | None, *, of_task: bool, outcome: str | None, seconds: float | None
) -> tuple[Level, str, dict[str, Any]]:
    """Put an event into words.

    The message about a task with an error is that of the error, as in its worker's log; what the runbook searches for
    is in it.

    Args:
        type: Such as `task.retried`.
        data: What the event carries.
        of_task: Whether it is about a task, not a whole workflow.
        outcome: How the attempt ended in the end; left out of the event that begins it.
        seconds: How long the attempt took.
    """
    known = data or {}
    error: Mapping[str, Any] = known.get("error") or {}
    begins = type == "task.started"
    fields = {
        "outcome": None if begins else outcome,
        "seconds": None if begins or seconds is None else round(seconds, 6),
        "error_type": error.get("type"),
        "by": (error.get("details") or {}).get("by"),
        "timeout": (error.get("details") or {}).get("timeout"),
        "error": None if of_task else error.get("message"),
        **{key: value for key, value in known.items() if key not in _OURS and isinstance(value, str | int | float)},
    }
    message = _MESSAGES.get(type) or type.replace(".", " ")
    if error and of_task:
        message = str(error.get("message") or message)
    level: Level = "warning" if error and error.get("type") != "upstream_failed" else "info"
    return level, message, {name: value for name, value in fields.items() if value is not None}
