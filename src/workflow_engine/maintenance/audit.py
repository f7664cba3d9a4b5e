"""Deletes what has been in the audit log for long enough."""

from __future__ import annotations

from workflow_engine.settings import Settings
from workflow_engine.store.store import Store


class AuditRetention:
    """The oldest rows first, a part at each sweep."""

    name = "audit log"
    asked = False
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = 60 * settings.sweep_seconds
        self._keep = settings.retention_audit_seconds
        self._maintenance = store.maintenance

    async def sweep_once(self) -> dict[str, int]:
        return {"deleted": await self._maintenance.sweep_audit(self._keep) if self._keep else 0}
