"""What pages share, and what they are told when it cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from workflow_engine.dashboard.glance import Glance
from workflow_engine.errors import StoreUnavailable


async def test_all_who_wait_for_a_postgres_that_does_not_answer_are_told_at_once() -> None:
    glance, go, tries = Glance(), asyncio.Event(), 0

    async def read() -> int:
        nonlocal tries
        tries += 1
        await go.wait()
        if tries == 1:
            raise StoreUnavailable("Postgres cannot be reached.", hint="Repeat the request.")
        return tries

    asking = [asyncio.create_task(glance.kept("number", 1.0, read)) for _ in range(20)]
    await asyncio.sleep(0)  # all of them have asked
    go.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(each, StoreUnavailable) and each.hint for each in found)
    assert tries == 1
    assert await glance.kept("number", 1.0, read) == 2  # who asks later asks anew


async def test_what_is_fresh_is_not_read_again() -> None:
    glance = Glance()

    async def read() -> object:
        return object()

    first = await glance.kept("thing", 60.0, read)
    assert await glance.kept("thing", 60.0, read) is first
    assert await glance.kept("thing", -1, read) is not first


async def test_what_readers_wrote_is_not_kept_for_ever() -> None:
    glance = Glance()
    reads: list[str] = []

    def reader(name: str) -> Callable[[], Awaitable[str]]:
        async def read() -> str:
            reads.append(name)
            return name

        return read

    for n in range(2000):
        await glance.kept(f"workflows of {n}", 60, reader(str(n)))
        await glance.kept("names", 60, reader("names"))
    assert reads.count("names") == 1
    await glance.kept("workflows of 1999", 60, reader("1999"))
    await glance.kept("workflows of 0", 60, reader("0"))
    assert (reads.count("1999"), reads.count("0")) == (1, 2)
