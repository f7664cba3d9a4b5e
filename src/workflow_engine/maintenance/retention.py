"""Deletes workflows that ended longer ago than they are kept."""

from __future__ import annotations

from uuid import UUID

from workflow_engine.observability import metrics
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store


class Retention:
    """Goes round all workflows, a part at each sweep. What a definition says comes before the settings."""

    name = "retention"
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = settings.sweep_seconds
        self._defaults = {
            status: seconds
            for status, seconds in (
                ("succeeded", settings.retention_succeeded_seconds),
                ("failed", settings.retention_failed_seconds),
            )
            if seconds
        }
        self._after: UUID | None = None
        self._maintenance = store.maintenance

    async def sweep_once(self) -> dict[str, int]:
        deleted, self._after = await self._maintenance.sweep_ended(self._after, self._defaults)
        metrics.workflows_deleted.inc(deleted)
        return {"deleted": deleted}
