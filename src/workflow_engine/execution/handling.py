"""Calls a handler under the time limits of its attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from structlog.typing import FilteringBoundLogger

from workflow_engine.definition.expressions import holds
from workflow_engine.errors import TIMEOUT_MESSAGE, TaskError
from workflow_engine.execution.attempt import Attempt
from workflow_engine.execution.names import outputs_of_dependencies
from workflow_engine.execution.revealing import Revealed
from workflow_engine.handlers.base import Handler, Outcome, TaskContext
from workflow_engine.observability.logs import REDACTOR


async def handle(attempt: Attempt, handler: Handler, secrets: Revealed | None, log: FilteringBoundLogger) -> Outcome:
    """Render the inputs and call the handler.

    Raises:
        TaskError: `timeout` when the attempt took too long, or was silent for too long; `expression`.
        Exception: Whatever the handler raises.
    """
    claim, step, names = attempt.claim, attempt.step, attempt.names
    path = claim.path or step.id
    visible = names if secrets is None else {**names, "secrets": secrets}
    inputs = step.inputs.render(visible) if step.inputs is not None else {}
    key = step.idempotency_key.render(names) if step.idempotency_key else f"{claim.workflow_id}/{path}"
    timeout = effective_timeout(attempt, handler)
    limits = _TimeLimits(timeout, step.timeouts.heartbeat if step.timeouts else None)
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
        log=log if secrets is None else log.bind(**{REDACTOR: secrets.redact}),
        heartbeat=limits.heartbeat,
        usage=attempt.usage,
        accepts=_acceptance(attempt),
    )
    result = await limits.run(lambda: handler.handle(inputs, context))
    return result if isinstance(result, Outcome) else Outcome(result)


def _acceptance(attempt: Attempt) -> Callable[[Any], bool] | None:
    condition = attempt.step.success_when
    return None if condition is None else lambda result: holds(condition, {**attempt.names, "result": result})


def effective_timeout(attempt: Attempt, handler: Handler) -> float:
    """Seconds this attempt may take: an operator's override, the step, the task type, the handler, the default."""
    for timeout in (attempt.own_timeout, handler.timeout):
        if timeout is not None:
            return timeout
    return attempt.limits.timeout


class _TimeLimits:
    """The limit of the whole attempt, and that of silence between two heartbeats."""

    def __init__(self, timeout: float, silence: float | None) -> None:
        self._timeout = timeout
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self._listening: asyncio.Timeout | None = None

    def heartbeat(self) -> None:
        """The handler is alive. For any thread; costs nothing where nobody listens."""
        if self._silence is not None:
            self._loop.call_soon_threadsafe(self._heard)

    def _heard(self) -> None:
        if self._listening is not None and self._silence is not None and not self._listening.expired():
            self._listening.reschedule(self._loop.time() + self._silence)

    async def run(self, call: Callable[[], Any]) -> Any:
        whole = asyncio.timeout(self._timeout)
        try:
            async with whole:
                return await (call() if self._silence is None else self._listen(call, self._silence))
        except TimeoutError as error:
            if not whole.expired():
                raise  # the handler's own
            message = f"{TIMEOUT_MESSAGE} of {_seconds(self._timeout)}"
            raise TaskError("timeout", message, details=_details("start_to_close", self._timeout)) from error

    async def _listen(self, call: Callable[[], Any], silence: float) -> Any:
        self._listening = listening = asyncio.timeout(silence)
        try:
            async with listening:
                return await call()
        except TimeoutError as error:
            if not listening.expired():
                raise
            message = f"{TIMEOUT_MESSAGE} between two heartbeats, {_seconds(silence)}"
            raise TaskError("timeout", message, details=_details("heartbeat", silence)) from error
        finally:
            self._listening = None


def _details(kind: str, timeout: float) -> dict[str, Any]:
    return {"kind": kind, "timeout": timeout}


def _seconds(timeout: float) -> str:
    return f"{timeout:g} second{'' if timeout == 1 else 's'}"
