"""Runs one attempt: from a claim and the step's plan to the completion that says how it ended."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from workflow_engine.definition.expressions import holds
from workflow_engine.definition.plan import Plan
from workflow_engine.definition.retries import DEFAULT_RETRY_POLICY, RetryPolicy
from workflow_engine.errors import TaskError
from workflow_engine.execution import catching
from workflow_engine.execution.attempt import Attempt, Limits, Resumed, Waits, began
from workflow_engine.execution.completions import completion, waiting
from workflow_engine.execution.failing import failed, failed_for_good
from workflow_engine.execution.handling import handle
from workflow_engine.execution.orchestration import ORCHESTRATED, Definitions, Orchestrated, steps_inside
from workflow_engine.execution.outputs import succeeded
from workflow_engine.execution.revealing import Revealed
from workflow_engine.handlers.base import Handler
from workflow_engine.handlers.failures import as_task_error
from workflow_engine.handlers.registry import Registry
from workflow_engine.records import Claim, Completion
from workflow_engine.secrets import Secrets
from workflow_engine.states import AttemptOutcome

_NO_SECRETS = Secrets({})


async def execute(
    claim: Claim,
    plan: Plan,
    handlers: Registry,
    limits: Limits,
    log: FilteringBoundLogger,
    *,
    secrets: Secrets = _NO_SECRETS,
    definitions: Definitions | None = None,
) -> Completion | None:
    """Run the attempt that a claim gives the right to.

    Args:
        claim: A first one, or one of a task that has waited and is resumed.
        plan: Of the claim's version.
        handlers: What can be run beside what the engine does itself.
        limits: Bounds of every attempt.
        log: For the handler.
        secrets: What `secrets.NAME` may name.
        definitions: Where children come from.

    Returns:
        How it ended; None when the handler completed the task itself, in the transaction that did its work.

    Raises:
        asyncio.CancelledError: The attempt was stopped from outside; there is nothing to say about it.
        StoreUnavailable: By `definitions`: hand the task back.
    """
    attempt = Attempt(claim, plan, plan.steps[claim.step_index], limits, began(claim))
    resumed = Resumed.of(claim.resumed) if claim.resumed is not None else None
    if claim.raised is not None:
        return failed_for_good(attempt, dict(claim.raised))
    if resumed is not None and resumed.catching is not None:
        return catching.after_steps(attempt, resumed)
    if orchestrated := ORCHESTRATED.get(attempt.step.type):
        return await _orchestrate(attempt, orchestrated, resumed, definitions)
    return await _handle(attempt, handlers, Revealed(secrets), log)


async def _handle(
    attempt: Attempt, handlers: Registry, secrets: Revealed, log: FilteringBoundLogger
) -> Completion | None:
    """Run a handler."""
    handler: Handler | None = None
    try:
        if _is_skipped(attempt):
            return completion(attempt, AttemptOutcome.SKIPPED)
        handler = handlers.get(attempt.step.type)  # a worker claims only types it can run
        result = await handle(attempt, handler, secrets, log)
        return None if result.settled else succeeded(attempt, result, attempt.step.output)
    except Exception as error:  # whatever a handler raises ends its attempt, never the worker
        told = as_task_error(error)
        default = handler.max_attempts if handler is not None else None
        return failed(attempt, secrets.redacted(told), _policy(attempt, default))


async def _orchestrate(
    attempt: Attempt, orchestrated: Orchestrated, resumed: Resumed | None, definitions: Definitions | None
) -> Completion:
    """Begin what the engine does itself, or go on with it.

    It is tried once where nothing else is said: the steps inside it have been tried again already.
    """
    try:
        if resumed is not None:
            result = await orchestrated.resume(attempt, resumed)
        elif _is_skipped(attempt):
            return completion(attempt, AttemptOutcome.SKIPPED)
        else:
            result = await orchestrated.begin(attempt, definitions)
        if isinstance(result, Waits):
            return waiting(attempt, result)
        block = attempt.step.block
        template = block.output if block is not None and block.output is not None else attempt.step.output
        return succeeded(attempt, result, template, steps_inside(resumed))
    except TaskError as error:
        return failed(attempt, as_task_error(error), _policy(attempt, 1))


def _is_skipped(attempt: Attempt) -> bool:
    return attempt.step.when is not None and not holds(attempt.step.when, attempt.names)


def _policy(attempt: Attempt, max_attempts: int | None) -> RetryPolicy:
    """The step's policy; else so many tries as its task type says, the handler, or the engine."""
    if attempt.step.retries is not None:
        return attempt.step.retries
    for tries in (attempt.claim.max_attempts, max_attempts):
        if tries is not None:
            return RetryPolicy(max_attempts=tries)
    return DEFAULT_RETRY_POLICY
