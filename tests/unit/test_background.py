"""Ending background tasks."""

import asyncio
from contextlib import suppress

from workflow_engine.background import end_tasks


async def test_a_task_that_missed_its_cancellation_is_cancelled_again() -> None:
    missed = 0

    async def busy() -> None:
        nonlocal missed
        while missed < 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                missed += 1  # as a pool does that gives a connection at the same moment
        await asyncio.Event().wait()

    task = asyncio.create_task(busy())
    await asyncio.sleep(0)

    assert await end_tasks(task)
    assert (missed, task.cancelled()) == (1, True)


async def test_one_that_never_ends_is_left_alone_and_told() -> None:
    ending = asyncio.Event()

    async def stubborn() -> None:
        while not ending.is_set():
            with suppress(asyncio.CancelledError):
                await ending.wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)

    assert not await end_tasks(task, within=0.01)
    ending.set()
    await task


async def test_what_a_task_raised_is_nobodys_business_any_more() -> None:
    async def fails() -> None:
        raise RuntimeError("a bug")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)

    assert await end_tasks(task)
