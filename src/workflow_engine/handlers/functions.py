"""Makes any `def` or `async def f(inputs, ctx)` of a user safe to await in a worker."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from workflow_engine.errors import TaskError
from workflow_engine.handlers.base import Handle, TaskContext
from workflow_engine.handlers.failures import as_task_error
from workflow_engine.handlers.threads import Threads


def accepts_inputs_and_context(function: Callable[..., Any]) -> bool:
    """Whether it can be called as `function(inputs, ctx)`."""
    try:
        inspect.signature(function).bind({}, None)
    except TypeError:
        return False
    except ValueError:  # a callable written in C may not tell its parameters
        return True
    return True


def as_handle(function: Callable[..., Any], threads: Threads) -> Handle:
    """Wrap a user's function: an async one runs on the event loop, a sync one in a thread.

    Two things a function may do would end the worker instead of the attempt, and become a `TaskError` here: a
    `SystemExit` (`sys.exit()` inside a library), and a `CancelledError` that leaks out though nobody cancelled the
    attempt.
    """
    if inspect.iscoroutinefunction(function):
        call: Handle = function
    else:

        async def call(inputs: dict[str, Any], ctx: TaskContext) -> Any:
            try:
                result = await threads.run(function, inputs, ctx)
            except asyncio.CancelledError:
                ctx.cancelled.set()
                raise
            # An async function behind a plain decorator looks sync and returns a coroutine.
            return await result if inspect.isawaitable(result) else result

    async def handle(inputs: dict[str, Any], ctx: TaskContext) -> Any:
        try:
            return await call(inputs, ctx)
        except SystemExit as error:
            raise as_task_error(error) from error
        except asyncio.CancelledError as error:
            attempt = asyncio.current_task()
            if attempt is not None and attempt.cancelling():
                raise
            raise TaskError("user.CancelledError", "The handler was cancelled from inside.") from error

    return handle
