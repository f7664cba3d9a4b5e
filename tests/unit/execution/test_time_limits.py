"""Limits of attempts, on an event loop whose clock the test sets."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from workflow_engine.execution.time_limits import TimeLimits


class Loop(asyncio.SelectorEventLoop):
    """Its time stands still but for `pass_time`, and it counts its timers."""

    now = 0.0
    timers = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, **options: Any) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(when, callback, *args, **options)


def on_the_loop(test: Callable[[Loop], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        await test(loop)

    def inside() -> None:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(run())

    inside.__name__ = test.__name__
    return inside


async def pass_time(loop: Loop, until: float) -> None:
    loop.now = until
    for _ in range(4):  # the timer, the cancellation, the end of the task
        await asyncio.sleep(0)


async def limited(limits: TimeLimits, seconds: float) -> str:
    limit = limits.limit(seconds)
    try:
        with limit:
            await asyncio.get_running_loop().create_future()
    except TimeoutError:
        assert limit.passed
        return "timed out"
    raise AssertionError


@on_the_loop
async def test_each_limit_passes_at_its_time_and_none_before(loop: Loop) -> None:
    limits = TimeLimits()
    tasks = []
    for start, seconds in ((0, 10), (1, 10), (1, 3), (2, 10)):
        loop.now = start
        tasks.append(asyncio.create_task(limited(limits, seconds)))
        await pass_time(loop, start)
    done = []
    for now in (3.9, 4, 9.9, 10, 11, 12):
        await pass_time(loop, now)
        done.append([task.done() for task in tasks])
    assert done == [
        [False, False, False, False],
        [False, False, True, False],
        [False, False, True, False],
        [True, False, True, False],
        [True, True, True, False],
        [True, True, True, True],
    ]
    assert {await task for task in tasks} == {"timed out"}


@on_the_loop
async def test_limits_of_one_length_share_a_timer(loop: Loop) -> None:
    limits = TimeLimits()
    for _ in range(1000):
        with limits.limit(300):
            pass
    assert loop.timers == 1
    await pass_time(loop, 300)
    with limits.limit(300):
        pass
    assert loop.timers == 2, "the first found nothing to do, and nothing was left of it"


@on_the_loop
async def test_a_limit_that_is_over_in_time_cancels_nothing_later(loop: Loop) -> None:
    limits = TimeLimits()
    with limits.limit(10):
        await asyncio.sleep(0)
    await pass_time(loop, 11)
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


@on_the_loop
async def test_a_restarted_limit_begins_anew(loop: Loop) -> None:
    limits = TimeLimits()
    limit = limits.limit(10)

    async def waits() -> None:
        with limit:
            await loop.create_future()

    task = asyncio.create_task(waits())
    await pass_time(loop, 9)
    limit.restart()
    await pass_time(loop, 18)
    assert not task.done()
    await pass_time(loop, 19)
    with pytest.raises(TimeoutError):
        await task
    limit.restart()
    await pass_time(loop, 40)


@on_the_loop
async def test_a_cancellation_from_outside_is_not_taken_for_a_timeout(loop: Loop) -> None:
    limits = TimeLimits()
    for seconds in (20, 10):  # the limit is open, or passes at the same moment
        task = asyncio.create_task(limited(limits, seconds))
        await asyncio.sleep(0)
        loop.call_at(loop.now + 10, task.cancel)
        await pass_time(loop, loop.now + 10)
        assert task.cancelled()


@on_the_loop
async def test_an_inner_limit_that_passes_leaves_the_outer_one_open(loop: Loop) -> None:
    limits = TimeLimits()
    outer, inner = limits.limit(10), limits.limit(5)

    async def waits() -> None:
        with outer:
            try:
                with inner:
                    await loop.create_future()
            except TimeoutError:
                await loop.create_future()

    task = asyncio.create_task(waits())
    await pass_time(loop, 0)
    await pass_time(loop, 5)
    assert (inner.passed, outer.passed, task.done()) == (True, False, False)
    await pass_time(loop, 10)
    assert outer.passed
    with pytest.raises(TimeoutError):
        await task


@on_the_loop
async def test_the_errors_of_what_is_inside_pass_through(loop: Loop) -> None:
    limit = TimeLimits().limit(10)
    with pytest.raises(TimeoutError, match="of the socket"), limit:
        raise TimeoutError("of the socket")
    assert not limit.passed
