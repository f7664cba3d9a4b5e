"""Handlers of a trial: what reaches nothing outside is the engine's own, all else is an output that was given."""

from __future__ import annotations

from typing import Any

from workflow_engine.errors import TIMEOUT_MESSAGE, TaskError
from workflow_engine.handlers.base import Handler, TaskContext
from workflow_engine.handlers.basic import fail, noop, transform
from workflow_engine.handlers.registry import Registry
from workflow_engine.testing.given import GivenOutputs, given_error

GIVEN = "test.given"
"""The task type of a step whose output was given in place of what its own type does."""

_BAD_REQUEST = 400
_USAGE = ("input_tokens", "output_tokens", "cost_usd")
OWN = {"transform": Handler("transform", transform), "noop": Handler("noop", noop), "fail": Handler("fail", fail)}


class StandIns(Registry):
    """Answers for every task type.

    Attributes:
        took: Seconds of virtual time that the last handler took.
    """

    def __init__(self, given: GivenOutputs) -> None:
        super().__init__(OWN, threads=1)
        self._given = given
        self.took = 0.0

    def get(self, type: str) -> Handler:
        async def hand_out(inputs: dict[str, Any], ctx: TaskContext) -> Any:
            return self._hand_out(type, ctx)

        return OWN.get(type) or Handler(type, hand_out)

    def _hand_out(self, type: str, ctx: TaskContext) -> Any:
        given = self._given.next(ctx.path, ctx.step)
        if given.takes > ctx.timeout:
            self.took = ctx.timeout
            raise _timed_out(ctx.timeout)
        self.took = given.takes
        if given.error is not None:
            raise given.error
        if isinstance(given.output, dict):
            if type == "http":
                _check_status(given.output, ctx)
            if type == "llm_inference":
                _count(given.output.get("usage"), ctx)
        return given.output


def _check_status(answer: dict[str, Any], ctx: TaskContext) -> None:
    """Fail where an `http` step fails with this answer."""
    status = answer.get("status")
    accepted = ctx.accepts(answer) if ctx.accepts is not None else not isinstance(status, int) or status < _BAD_REQUEST
    if not accepted:
        raise given_error(f"http.{status}", f"The given answer has the status {status}.")


def _count(usage: Any, ctx: TaskContext) -> None:
    if isinstance(usage, dict):
        ctx.usage.add(**{name: usage[name] for name in _USAGE if isinstance(usage.get(name), int | float)})


def _timed_out(timeout: float) -> TaskError:
    """The error of an attempt that takes longer than it may."""
    message = f"{TIMEOUT_MESSAGE} of {timeout:g} second{'' if timeout == 1 else 's'}"
    return TaskError("timeout", message, details={"kind": "start_to_close", "timeout": timeout})
