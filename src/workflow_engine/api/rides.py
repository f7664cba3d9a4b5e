"""Group commits without a timer: calls that arrive while one is under way ride together on the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from workflow_engine.background import end_tasks

T = TypeVar("T")
R = TypeVar("R")


class Rides(Generic[T, R]):
    """Serves calls together where many cost hardly more than one.

    A call is always served by a ride that began after it: an answer never says how things were before the call.

    Args:
        serve: Serves the calls of one ride, in order. An error in the place of an answer is raised to that caller,
            one that it raises to all of them.
        most: Calls in one ride.
    """

    def __init__(self, serve: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]], *, most: int) -> None:
        self._serve = serve
        self._most = most
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._driver: asyncio.Task[None] | None = None

    async def take(self, call: T) -> R:
        """Ride with the next one, which begins at once when none is under way."""
        return await self.begin(call)

    def begin(self, call: T) -> asyncio.Future[R]:
        """The same for whoever has something else to do until the answer comes."""
        answered: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, answered))
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())
        return answered

    async def close(self) -> None:
        """End the ride that is under way; nobody waits for it any more."""
        if self._driver is not None:
            await end_tasks(self._driver)

    async def _drive(self) -> None:
        while self._waiting:
            riders = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            riders = [(call, answered) for call, answered in riders if not answered.done()]  # who gave up is not served
            if not riders:
                continue
            answers: Sequence[R | Exception]
            try:
                answers = await self._serve([call for call, _ in riders])
            except Exception as error:
                answers = [error] * len(riders)
            for (_, answered), answer in zip(riders, answers, strict=True):
                if answered.done():  # cancelled meanwhile
                    continue
                if isinstance(answer, Exception):
                    answered.set_exception(answer)
                else:
                    answered.set_result(answer)
