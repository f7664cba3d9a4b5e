"""Deletes workflows that ended longer ago than they are kept, and drops the partitions of their events and attempts."""

from __future__ import annotations

import time

from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

_BUSY_SECONDS = 0.2  # of a sweep at most: other duties wait meanwhile
_DROP_SECONDS = 60.0  # between two looks for what can be dropped or cleaned


def defaults(settings: Settings) -> dict[str, float]:
    """Seconds by status for which workflows are kept whose definition does not say."""
    said = {"succeeded": settings.retention_succeeded_seconds, "failed": settings.retention_failed_seconds}
    return {status: seconds for status, seconds in said.items() if seconds}


class Retention:
    """A part at each sweep. What a definition says comes before the settings."""

    name = "retention"
    asked = False
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = 3 * settings.sweep_seconds
        self._defaults = defaults(settings)
        self._maintenance = store.maintenance
        self._log = get_logger("retention")
        self._drop_at = 0.0

    async def sweep_once(self) -> dict[str, int]:
        until = time.monotonic() + _BUSY_SECONDS
        deleted, more = 0, True
        while more and time.monotonic() < until:
            count, more = await self._maintenance.sweep_retention(self._defaults)
            deleted += count
        metrics.workflows_deleted.inc(deleted)
        dropped = cleaned = 0
        if not more and self._drop_at <= time.monotonic():
            if name := await self._maintenance.drop_partition():
                self._log.info("partition dropped", partition=name)
                metrics.partitions_dropped.inc()
                dropped = 1
            else:
                rows = await self._maintenance.clean_partition(self._defaults)
                cleaned = rows or 0
                if rows is None:
                    self._drop_at = time.monotonic() + _DROP_SECONDS
        return {"deleted": deleted, "dropped": dropped, "cleaned": cleaned}
