"""Runs one attempt: from a claim and the step's plan to the completion that says how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from structlog.typing import FilteringBoundLogger

from workflow_engine.definition.expressions import holds
from workflow_engine.definition.plan import Plan, PlanStep
from workflow_engine.errors import TIMEOUT_MESSAGE, TaskError
from workflow_engine.execution.completions import completion
from workflow_engine.execution.failing import failed
from workflow_engine.execution.names import names, outputs_of_dependencies
from workflow_engine.handlers.base import Handler, Outcome, TaskContext
from workflow_engine.handlers.failures import as_task_error
from workflow_engine.handlers.output import encode_output
from workflow_engine.handlers.registry import Registry
from workflow_engine.records import Claim, Completion
from workflow_engine.states import AttemptOutcome


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
    scope = names(claim, plan)
    handler: Handler | None = None
    try:
        if step.when is not None and not holds(step.when, scope):
            return completion(claim, AttemptOutcome.SKIPPED)
        handler = handlers.get(step.type)  # a worker claims only types it can run
        result = await _run(handler=handler, claim=claim, plan=plan, step=step, scope=scope, limits=limits, log=log)
        if result.settled:
            return None
        output = result.output
        if step.output is not None:
            output = step.output.render({**scope, "result": output})
        return completion(
            claim,
            AttemptOutcome.SUCCEEDED,
            output=encode_output(output, limits.payload_bytes),
            record=result.record,
        )
    except Exception as error:  # whatever a handler raises ends its attempt, never the worker
        return failed(claim, step, handler, as_task_error(error), scope)


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
    path = claim.path or step.id
    inputs = step.inputs.render(scope) if step.inputs is not None else {}
    key = step.idempotency_key.render(scope) if step.idempotency_key else f"{claim.workflow_id}/{path}"
    context = TaskContext(
        workflow_id=claim.workflow_id,
        workflow_name=claim.workflow_name,
        workflow_version=claim.workflow_version,
        task_id=str(claim.task_id),
        step=step.id,
        path=path,
        attempt=claim.attempt,
        idempotency_key=str(key),
        timeout=timeout,
        dependencies=outputs_of_dependencies(claim, plan, step),
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
