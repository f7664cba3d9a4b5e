"""Wakes scheduled tasks whose time has come."""

from __future__ import annotations

from workflow_engine.settings import Settings
from workflow_engine.store.store import Store


class DueTasks:
    """Workers wake due tasks of their own queues in their turns; this shows them as pending while all are busy."""

    name = "due tasks"
    asked = True
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = settings.poll_seconds
        self._maintenance = store.maintenance

    async def sweep_once(self) -> dict[str, int]:
        return {"woken": await self._maintenance.wake_due()}
