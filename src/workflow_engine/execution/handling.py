"""Calls a handler under the time limits of its attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from structlog.typing import FilteringBoundLogger

from workflow_engine.definition.expressions import holds
from workflow_engine.errors import TIMEOUT_MESSAGE, TaskError
from workflow_engine.execution.attempt import Attempt
from workflow_engine.execution.names import outputs_of_dependencies
from workflow_engine.execution.revealing import Revealed, reads_secrets
from workflow_engine.execution.time_limits import TimeLimit
from workflow_engine.handlers.base import Handler, Outcome, TaskContext, unheard
from workflow_engine.observability.logs import REDACTOR
from workflow_engine.observability.trace_context import outgoing


async def handle(attempt: Attempt, handler: Handler, secrets: Revealed, log: FilteringBoundLogger) -> Outcome:
    """Render the inputs and call the handler.

    Raises:
        TaskError: `timeout` when the attempt took too long, or was silent for too long; `expression`.
        Exception: Whatever the handler raises.
    """
    claim, step = attempt.claim, attempt.step
    path = claim.path or step.id
    inputs = _inputs(attempt, secrets)
    key = step.idempotency_key.render(attempt.names) if step.idempotency_key else f"{claim.workflow_id}/{path}"
    timeout = effective_timeout(attempt, handler)
    silence = step.timeouts.heartbeat if step.timeouts is not None else None
    silent = None if silence is None else attempt.limits.time.limit(silence)
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
        dependencies=outputs_of_dependencies(claim, attempt.plan, step),
        lease_token=claim.lease_token,
        log=log.bind(**{REDACTOR: secrets.told}) if secrets.any else log,
        heartbeat=unheard if silent is None else _heartbeat(silent),
        usage=attempt.usage,
        accepts=_acceptance(attempt),
        redact=secrets.stored,
        traceparent=claim.traceparent,
    )
    if claim.traceparent is not None:
        outgoing.set(claim.traceparent)

    def conceal(*values: str) -> None:
        if not secrets.any:
            context.log = log.bind(**{REDACTOR: secrets.told})
        secrets.conceal(*values)

    context.conceal = conceal
    whole = attempt.limits.time.limit(timeout)
    try:
        with whole:
            if silent is None:
                result = await handler.handle(inputs, context)
            else:
                with silent:
                    result = await handler.handle(inputs, context)
    except TimeoutError as error:
        if (told := _timed_out(whole, silent)) is None:
            raise
        raise told from error
    outcome = result if isinstance(result, Outcome) else Outcome(result)
    if not secrets.any:
        return outcome
    return replace(outcome, output=secrets.stored(outcome.output), record=secrets.stored(outcome.record))


def _inputs(attempt: Attempt, secrets: Revealed) -> Any:
    template = attempt.step.inputs
    if template is None:
        return {}
    if template.static:  # no need to put names together
        return template.render({})
    return template.render({**attempt.names, "secrets": secrets} if reads_secrets(attempt.step) else attempt.names)


def _acceptance(attempt: Attempt) -> Callable[[Any], bool] | None:
    condition = attempt.step.success_when
    return None if condition is None else lambda result: holds(condition, {**attempt.names, "result": result})


def effective_timeout(attempt: Attempt, handler: Handler) -> float:
    """Seconds this attempt may take: an operator's override, the step, the task type, the handler, the default."""
    for timeout in (attempt.own_timeout, handler.timeout):
        if timeout is not None:
            return timeout
    return attempt.limits.timeout


def _heartbeat(silent: TimeLimit) -> Callable[[], None]:
    """What a handler calls to say that it is alive. For any thread."""
    loop = asyncio.get_running_loop()

    def heartbeat() -> None:
        loop.call_soon_threadsafe(silent.restart)

    return heartbeat


def _timed_out(whole: TimeLimit, silent: TimeLimit | None) -> TaskError | None:
    """The error of the limit that has passed, if one has: a `TimeoutError` may also be the handler's own."""
    if silent is not None and silent.passed:
        message = f"{TIMEOUT_MESSAGE} between two heartbeats, {_seconds(silent.seconds)}"
        return TaskError("timeout", message, details={"kind": "heartbeat", "timeout": silent.seconds})
    if whole.passed:
        message = f"{TIMEOUT_MESSAGE} of {_seconds(whole.seconds)}"
        return TaskError("timeout", message, details={"kind": "start_to_close", "timeout": whole.seconds})
    return None


def _seconds(timeout: float) -> str:
    return f"{timeout:g} second{'' if timeout == 1 else 's'}"
