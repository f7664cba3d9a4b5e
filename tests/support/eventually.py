"""Wait for a condition instead of sleeping for a guessed time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
_TRY_SECONDS = 0.02


def eventually(condition: Callable[[], T], timeout: float = 10, *, message: str = "") -> T:
    """Call `condition` until it returns something true, and return that.

    An `AssertionError` in it counts as "not yet"; any other exception ends the wait. After `timeout` seconds the test
    fails with that assertion, or with what the condition returned last.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            answer = condition()
            if answer:
                return answer
            failure = AssertionError(message or f"Not true after {timeout:g} s; the last answer was {answer!r}")
        except AssertionError as error:
            failure = error
        if time.monotonic() > deadline:
            raise failure
        time.sleep(_TRY_SECONDS)


async def eventually_async(condition: Callable[[], Awaitable[T]], timeout: float = 10, *, message: str = "") -> T:
    """The same for a coroutine function: `await eventually_async(lambda: store.is_done(id))`."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            answer = await condition()
            if answer:
                return answer
            failure = AssertionError(message or f"Not true after {timeout:g} s; the last answer was {answer!r}")
        except AssertionError as error:
            failure = error
        if time.monotonic() > deadline:
            raise failure
        await asyncio.sleep(_TRY_SECONDS)
