"""What follows from the error of an attempt: another one after a delay, or the end of the task."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from workflow_engine.definition.expressions import evaluate
from workflow_engine.definition.plan import PlanStep
from workflow_engine.definition.retries import DEFAULT_RETRY_POLICY, RetryPolicy, next_delay
from workflow_engine.errors import TaskError
from workflow_engine.execution.completions import completion
from workflow_engine.handlers.base import Handler
from workflow_engine.records import Claim, Completion
from workflow_engine.states import AttemptOutcome


def failed(
    claim: Claim, step: PlanStep, handler: Handler | None, error: TaskError, scope: Mapping[str, Any]
) -> Completion:
    """The completion of an attempt that ended with an error.

    Args:
        handler: What ran; None when it did not come to that.
        scope: The names for `retries.when`.
    """
    policy = step.retries or _default_policy(claim, handler)
    tries = claim.tries + 1
    delay = next_delay(
        policy,
        error.type,
        retryable=error.retryable,
        tries=tries,
        elapsed=claim.elapsed_seconds,
        random=random.random(),  # noqa: S311 spreads retries out; nothing secret
        retry_after=error.retry_after,
    )
    document = error.as_json(claim.attempt)
    if delay is not None and policy.when is not None:
        try:
            if not evaluate(policy.when, {**scope, "error": document}):
                delay = None
        except TaskError as broken:
            document["details"] = {**document["details"], "retries.when": broken.message}
            delay = None
    if delay is None:
        return completion(claim, AttemptOutcome.FAILED, error=document)
    return completion(claim, AttemptOutcome.RETRIED, error=document, delay=delay)


def _default_policy(claim: Claim, handler: Handler | None) -> RetryPolicy:
    """For a step without a policy of its own: the task type's number of tries, the handler's, the engine's."""
    for tries in (claim.max_attempts, handler.max_attempts if handler else None):
        if tries is not None:
            return RetryPolicy(max_attempts=tries)
    return DEFAULT_RETRY_POLICY
