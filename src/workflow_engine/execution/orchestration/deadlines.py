"""What becomes of a `signal` or `approval` step when its time is over."""

from __future__ import annotations

from workflow_engine.execution.attempt import Attempt, Resumed
from workflow_engine.execution.orchestration.base import time_is_up


def require_own_deadline(attempt: Attempt, resumed: Resumed, timeout: float | None, on_timeout: str) -> None:
    """Return if the step is to go on as its `on_timeout` says.

    Args:
        timeout: The step's own, of its inputs.

    Raises:
        TaskError: `timeout`: it is to fail, or the limit that passed is that of every step.
    """
    common = attempt.own_timeout
    if timeout is None or (common is not None and common < timeout):
        raise time_is_up(resumed, common)
    if on_timeout == "fail":
        raise time_is_up(resumed, timeout)
