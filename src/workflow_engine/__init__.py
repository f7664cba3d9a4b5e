"""A durable workflow engine on Postgres.

Users write handlers against the names exported here, and test them with `workflow_engine.testing`; everything else is
internal.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workflow_engine.errors import TaskError
    from workflow_engine.handlers.base import Outcome, TaskContext
    from workflow_engine.handlers.registry import handler

__all__ = ["Outcome", "TaskContext", "TaskError", "handler"]

_HOMES = {
    "Outcome": "workflow_engine.handlers.base",
    "TaskContext": "workflow_engine.handlers.base",
    "TaskError": "workflow_engine.errors",
    "handler": "workflow_engine.handlers.registry",
}


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used, since every command and every child process imports this package."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
