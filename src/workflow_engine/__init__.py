"""A durable workflow engine on Postgres.

Users write handlers against the names exported here; everything else is internal.
"""

from workflow_engine.errors import TaskError
from workflow_engine.handlers.registry import handler

__all__ = ["TaskError", "handler"]
