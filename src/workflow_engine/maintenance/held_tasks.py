"""Frees what nothing holds back any more: pauses that are over, locks and limits that are free."""

from __future__ import annotations

from workflow_engine.settings import Settings
from workflow_engine.store.store import Store


class HeldTasks:
    """Whoever resumes frees at once what was held back, up to a bound; this does the rest, a part at a time. Whoever
    frees a lock wakes the next in line; this finds whom a locked row kept from it, and who waits behind a task that was
    woken but that no worker claims. The same for workflows in line for a concurrency key.
    And when units of a limit's rate are there again, it is this that wakes who waits for them."""

    name = "held tasks"
    asked = True
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = settings.poll_seconds
        self._after: int | None = None  # goes round the parked jobs
        self._after_line: str | None = None  # and round the lines
        self._after_key: str | None = None  # of locks and limits, and of concurrency keys
        self._maintenance = store.maintenance

    async def sweep_once(self) -> dict[str, int]:
        done, self._after = await self._maintenance.sweep_held(self._after)
        woken, self._after_line = await self._maintenance.sweep_waiters(self._after_line)
        woken += await self._maintenance.wake_rated()
        entered, self._after_key = await self._maintenance.sweep_places(self._after_key)
        return done | {"woken": woken, "entered": entered}
