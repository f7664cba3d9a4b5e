"""What follows from the error of an attempt: another try after a delay, a catch, or the end of the task."""

from __future__ import annotations

from typing import Any

from workflow_engine.definition.expressions import evaluate
from workflow_engine.definition.retries import RetryPolicy, next_delay
from workflow_engine.errors import TaskError
from workflow_engine.execution.attempt import Attempt
from workflow_engine.execution.catching import caught
from workflow_engine.execution.completions import completion
from workflow_engine.records import Completion
from workflow_engine.states import AttemptOutcome


def failed(attempt: Attempt, error: TaskError, policy: RetryPolicy) -> Completion:
    """The completion of an attempt that ended with an error."""
    document = error.as_json(attempt.claim.attempt)
    delay = next_delay(
        policy,
        error.type,
        retryable=error.retryable,
        tries=attempt.claim.tries + 1,
        elapsed=attempt.claim.elapsed_seconds,
        random=attempt.limits.random(),
        retry_after=error.retry_after,
    )
    if delay is not None and policy.when is not None:
        try:
            if not evaluate(policy.when, {**attempt.names, "error": document}):
                delay = None
        except TaskError as broken:
            document["details"] = {**document.get("details", {}), "retries.when": broken.message}
            delay = None
    if delay is not None:
        return completion(attempt, AttemptOutcome.RETRIED, error=document, delay=delay)
    return failed_for_good(attempt, document)


def failed_for_good(attempt: Attempt, error: dict[str, Any]) -> Completion:
    """The completion of an attempt after whose error there is no other try."""
    return caught(attempt, error) or completion(attempt, AttemptOutcome.FAILED, error=error)
