"""Removes claimed jobs that no running task stands behind."""

from __future__ import annotations

from workflow_engine.settings import Settings
from workflow_engine.store.store import Store


class LeakedJobs:
    """None should exist; one that does, after tampering with the job table, would count as running for ever."""

    name = "leaked jobs"
    asked = False
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = 6 * settings.sweep_seconds
        self._maintenance = store.maintenance

    async def sweep_once(self) -> dict[str, int]:
        return {"removed": await self._maintenance.sweep_leaked_jobs()}
