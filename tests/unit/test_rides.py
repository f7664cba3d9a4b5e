"""Calls that ride together."""

import asyncio
from collections.abc import Sequence

import pytest

from workflow_engine.api.rides import Rides


async def test_who_gave_up_before_a_ride_began_is_not_served() -> None:
    """A start whose request was cancelled while it waited starts nothing."""
    served: list[list[int]] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def serve(calls: Sequence[int]) -> Sequence[int]:
        served.append(list(calls))
        begun.set()
        await go_on.wait()
        return calls

    rides = Rides(serve, most=2)
    first, *later = [asyncio.create_task(rides.take(number)) for number in range(1, 5)]
    await begun.wait()
    for given_up in later[1:]:
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
    go_on.set()
    assert (await first, await later[0]) == (1, 2)
    assert await rides.take(5) == 5
    assert served == [[1, 2], [5]]
