"""Ends pauses whose time is over, and frees what nothing holds back any more."""

from __future__ import annotations

from workflow_engine.settings import Settings
from workflow_engine.store.store import Store


class HeldTasks:
    """Whoever resumes frees at once what was held back, up to a bound; this does the rest, a part at a time."""

    name = "held tasks"
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = settings.poll_seconds
        self._after: int | None = None  # goes round the parked jobs
        self._maintenance = store.maintenance

    async def sweep_once(self) -> dict[str, int]:
        done, self._after = await self._maintenance.sweep_held(self._after)
        return done
