"""Tells pages that something has happened, so that they look again: one cheap question to Postgres for all of them.

What is told is a hint and no more: pages look now and then without one, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from workflow_engine.api.streams import Event
from workflow_engine.background import end_tasks
from workflow_engine.errors import StoreUnavailable
from workflow_engine.store.store import Store

_LOOK_SECONDS = 0.5
_AWAY_SECONDS = 2.0


class Changes:
    """Looks at the number of the last event for as long as somebody follows."""

    def __init__(self) -> None:
        self._last = 0
        self._followers: set[asyncio.Event] = set()
        self._looking: asyncio.Task[None] | None = None

    async def follow(self, store: Store, after: int) -> AsyncGenerator[list[Event], None]:
        """An event with the new number whenever something has happened, twice a second at most.

        Args:
            after: The number that is known; another one is told at once.
        """
        moved = asyncio.Event()
        self._followers.add(moved)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(store))
        try:
            while True:
                if self._last not in (0, after):
                    after = self._last
                    yield [Event(after)]
                await moved.wait()
                moved.clear()
        finally:
            self._followers.discard(moved)
            if not self._followers and self._looking is not None:
                looking, self._looking = self._looking, None
                await end_tasks(looking)

    async def _look(self, store: Store) -> None:
        while True:
            try:
                last = await store.overview.last_event()
            except StoreUnavailable:
                await asyncio.sleep(_AWAY_SECONDS)
                continue
            if last != self._last:
                self._last = last
                for moved in self._followers:
                    moved.set()
            await asyncio.sleep(_LOOK_SECONDS)
