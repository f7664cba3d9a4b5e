"""Runs one attempt: from a claim and the step's plan to the completion that says how it ended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from structlog.typing import FilteringBoundLogger

from workflow_engine.definition.expressions import evaluate, holds
from workflow_engine.definition.plan import Plan, PlanStep
from workflow_engine.definition.retries import DEFAULT_RETRY_POLICY, RetryPolicy, next_delay
from workflow_engine.errors import TIMEOUT_MESSAGE, TaskError
from workflow_engine.handlers.base import Handler, Outcome, TaskContext
from workflow_engine.handlers.failures import as_task_error
from workflow_engine.handlers.output import encode_output
from workflow_engine.handlers.registry import Registry
from workflow_engine.records import Claim, Completion
from workflow_engine.states import AttemptOutcome, TaskStatus


@dataclass(frozen=True, slots=True)
class Limits:
    """What every attempt is bound by unless its step or type says otherwise."""

    timeout: float  # seconds
    payload_bytes: int


async def execute(
    claim: Claim, plan: Plan, handlers: Registry, limits: Limits, log: FilteringBoundLogger
) -> Completion | None:
    """Run the attempt that a claim gives the right to.

    Returns:
        How it ended; None when the handler completed the task itself, in the transaction that did its work.

    Raises:
        asyncio.CancelledError: The attempt was stopped from outside; there is nothing to say about it.
    """
    step = plan.steps[claim.step_index]
    scope = _scope(claim, plan)
    handler: Handler | None = None
    try:
        if step.when is not None and not holds(step.when, scope):
            return _completion(claim, AttemptOutcome.SKIPPED)
        handler = handlers.get(step.type)  # a worker claims only types it can run
        result = await _run(handler=handler, claim=claim, plan=plan, step=step, scope=scope, limits=limits, log=log)
        if result.settled:
            return None
        output = result.output
        if step.output is not None:
            output = step.output.render({**scope, "result": output})
        return _completion(
            claim,
            AttemptOutcome.SUCCEEDED,
            output=encode_output(output, limits.payload_bytes),
            record=result.record,
        )
    except Exception as error:  # whatever a handler raises ends its attempt, never the worker
        return _failure(claim, step, handler, as_task_error(error), scope)


async def _run(
    *,
    handler: Handler,
    claim: Claim,
    plan: Plan,
    step: PlanStep,
    scope: Mapping[str, Any],
    limits: Limits,
    log: FilteringBoundLogger,
) -> Outcome:
    timeout = effective_timeout(claim, step, handler, limits)
    inputs = step.inputs.render(scope) if step.inputs is not None else {}
    key = step.idempotency_key.render(scope) if step.idempotency_key else f"{claim.workflow_id}/{step.id}"
    context = TaskContext(
        workflow_id=claim.workflow_id,
        workflow_name=claim.workflow_name,
        workflow_version=claim.workflow_version,
        task_id=str(claim.task_id),
        step=step.id,
        path=step.id,
        attempt=claim.attempt,
        idempotency_key=str(key),
        timeout=timeout,
        dependencies=_dependencies(claim, plan, step),
        lease_token=claim.lease_token,
        log=log,
    )
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            result = await handler.handle(inputs, context)
    except TimeoutError as error:
        if not limit.expired():
            raise  # the handler's own
        raise TaskError(
            "timeout",
            f"{TIMEOUT_MESSAGE} of {timeout:g} second{'' if timeout == 1 else 's'}",
            details={"timeout": timeout},
        ) from error
    return result if isinstance(result, Outcome) else Outcome(result)


def effective_timeout(claim: Claim, step: PlanStep, handler: Handler, limits: Limits) -> float:
    """Seconds this attempt may take: an operator's override, the step, the task type, the handler, the default."""
    if claim.timeout is not None and claim.timeout_is_override:
        return claim.timeout
    for timeout in (step.timeout, claim.timeout, handler.timeout):
        if timeout is not None:
            return timeout
    return limits.timeout


def _scope(claim: Claim, plan: Plan) -> dict[str, Any]:
    """The names that the step's expressions may use."""
    return {
        "input": claim.input,
        "steps": claim.steps or {},
        "vars": plan.vars,
        "workflow": {
            "id": claim.workflow_id,
            "name": claim.workflow_name,
            "version": claim.workflow_version,
            "attempt": claim.attempt,
            "labels": claim.labels,
            "started_at": claim.workflow_started_at,
        },
    }


def _dependencies(claim: Claim, plan: Plan, step: PlanStep) -> dict[str, Any]:
    if not claim.steps:
        return {}
    names = (plan.steps[index].id for index in step.dependencies)
    return {
        name: claim.steps[name]["output"]
        for name in names
        if claim.steps.get(name, {}).get("status") == TaskStatus.SUCCEEDED
    }


def _failure(
    claim: Claim, step: PlanStep, handler: Handler | None, error: TaskError, scope: Mapping[str, Any]
) -> Completion:
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
        return _completion(claim, AttemptOutcome.FAILED, error=document)
    return _completion(claim, AttemptOutcome.RETRIED, error=document, delay=delay)


def _default_policy(claim: Claim, handler: Handler | None) -> RetryPolicy:
    """For a step without a policy of its own: the task type's number of tries, the handler's, the engine's."""
    for tries in (claim.max_attempts, handler.max_attempts if handler else None):
        if tries is not None:
            return RetryPolicy(max_attempts=tries)
    return DEFAULT_RETRY_POLICY


def _completion(claim: Claim, outcome: AttemptOutcome, **fields: Any) -> Completion:
    return Completion(claim.task_id, claim.attempt, claim.lease_token, outcome, workflow_id=claim.workflow_id, **fields)
