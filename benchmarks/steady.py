"""A steady load: a mix of singles, chains and fan-outs, for as long as wanted, either as much as the workers do or at a
given rate.

What has been done is read from the workers' metrics, so that looking costs the database nothing, however it fares.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Self

from benchmarks import definitions
from benchmarks.scraping import completed
from workflow_engine.errors import StackUnavailable
from workflow_engine.records import WorkflowStart
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store

_LOOK_SECONDS = 0.3
_AHEAD_SECONDS = 1.0  # how much work lies ready, so that no slot ever waits for it
_LEAST_AHEAD = 1_200  # steps
_DRAIN_SECONDS = 120.0

# One unit of the mix: a third of its steps from each shape.
_MIX = ((definitions.single(), 40), (definitions.chain(10), 4), (definitions.fan_out(39), 1))
_UNIT = [WorkflowStart(definition.name) for definition, count in _MIX for _ in range(count)]
UNIT_STEPS = sum(len(definition.plan.steps) * count for definition, count in _MIX)


class SteadyLoad:
    """The load on one database. Open it first.

    Args:
        database_url: The engine's database.
        ports: Where its workers' metrics are; they have done nothing yet.
    """

    def __init__(self, database_url: str, ports: Sequence[int]) -> None:
        self._pool = Pool(database_url, size=1)
        self._store = Store(self._pool)
        self._ports = ports
        self._submitted = 0
        self._owed = 0.0
        self._rate = 0.0  # steps per second, of late

    async def __aenter__(self) -> Self:
        await self._pool.open()
        for definition, _ in _MIX:
            await self._store.definitions.register(definition)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._pool.close()

    async def full(self, seconds: float) -> float:
        """Keep all slots busy for so long and then do what is left; returns the steps per second of the former."""
        await self._fill(self._done())
        begin, at_begin = time.monotonic(), self._done()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now, done = time.monotonic(), self._done()
            if now - begin >= seconds:
                break
            self._rate = (done - at_begin) / (now - begin)
            await self._fill(done)
        await self.drain()
        return (done - at_begin) / (now - begin)

    async def at_rate(self, steps_per_second: float, seconds: float) -> None:
        """Submit that many steps per second, evenly, whether or not the workers keep up."""
        begin = last = time.monotonic()
        while last - begin < seconds:
            await asyncio.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            self._owed += steps_per_second * (now - last)
            last = now
            units = int(self._owed // UNIT_STEPS)
            self._owed -= units * UNIT_STEPS
            await self._submit(units)

    async def drain(self) -> None:
        """Wait until all that was submitted is done.

        Raises:
            StackUnavailable: It takes too long.
        """
        deadline = time.monotonic() + _DRAIN_SECONDS
        while (left := self._submitted - self._done()) > 0:
            if time.monotonic() > deadline:
                raise StackUnavailable(f"{left} of {self._submitted} steps have not been done")
            await asyncio.sleep(_LOOK_SECONDS)

    @property
    def behind(self) -> int:
        """Steps that were submitted and are not done."""
        return self._submitted - self._done()

    def _done(self) -> int:
        return completed(self._ports)

    async def _fill(self, done: int) -> None:
        ahead = max(_LEAST_AHEAD, int(self._rate * _AHEAD_SECONDS))
        await self._submit(max(ahead - (self._submitted - done), 0) // UNIT_STEPS)

    async def _submit(self, units: int) -> None:
        if units:
            await self._store.workflows.start(_UNIT * units)
            self._submitted += UNIT_STEPS * units
