"""Turns whatever a handler raises into a `TaskError` that can be stored."""

from __future__ import annotations

from workflow_engine.errors import TaskError
from workflow_engine.handlers.output import find_fault, storable_text

_LONGEST_TYPE = 200
_LARGEST_DETAILS = 64 * 1024


def as_task_error(error: BaseException) -> TaskError:
    """The task error for an exception of a handler. Never raises.

    A `TaskError` stays itself, unless its message or details could not be stored. Anything else becomes a retryable
    `user.<ClassName>` with the exception's text; an exception whose `__str__` fails is said to be unprintable.
    """
    if not isinstance(error, TaskError):
        return TaskError(storable_text(f"user.{type(error).__name__}", _LONGEST_TYPE), storable_text(error))
    kind, message, details = storable_text(error.type, _LONGEST_TYPE), storable_text(error.message), error.details
    if (fault := find_fault(details, _LARGEST_DETAILS)) is not None:
        details = {"dropped": storable_text(fault)}
    if (kind, message, details) == (error.type, error.message, error.details):
        return error
    return TaskError(kind, message, retryable=bool(error.retryable), retry_after=error.retry_after, details=details)
