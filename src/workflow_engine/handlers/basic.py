"""The types that reach nothing outside: `transform`, `noop` and `fail`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field

from workflow_engine.errors import TaskError
from workflow_engine.handlers.base import TaskContext
from workflow_engine.handlers.inputs import Inputs, parse_inputs


class TransformInputs(Inputs):
    value: Any


class FailInputs(Inputs):
    type: Annotated[str, Field(pattern=re.compile(r"\A[A-Za-z0-9_.-]{1,100}\Z"))] = "failed"
    message: str = "The workflow asked for this failure."


async def transform(inputs: dict[str, Any], ctx: TaskContext) -> Any:
    """Give back what the step's expression or template was rendered to."""
    return parse_inputs(TransformInputs, inputs).value


async def noop(inputs: dict[str, Any], ctx: TaskContext) -> None:
    """Do nothing: a point where branches meet."""


async def fail(inputs: dict[str, Any], ctx: TaskContext) -> Any:
    """Fail for good with `user.<type>`."""
    wanted = parse_inputs(FailInputs, inputs)
    raise TaskError(f"user.{wanted.type}", wanted.message, retryable=False)
