"""A durable workflow engine on Postgres.

Users write handlers against the names exported here, and test them with `workflow_engine.testing`; everything else is
internal.
"""

from workflow_engine.errors import TaskError
from workflow_engine.handlers.base import Outcome, TaskContext
from workflow_engine.handlers.registry import handler

__all__ = ["Outcome", "TaskContext", "TaskError", "handler"]
