"""Forgets what is only kept for a day."""

from __future__ import annotations

from workflow_engine.settings import Settings
from workflow_engine.store.store import Store


class Retired:
    """Answered idempotency keys, and workers that stopped or died long ago."""

    name = "retired rows"
    asked = False
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = 60 * settings.sweep_seconds
        self._maintenance = store.maintenance

    async def sweep_once(self) -> dict[str, int]:
        return {"forgotten": await self._maintenance.sweep_retired()}
