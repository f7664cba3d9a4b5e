"""Gives tasks whose job is gone a new one."""

from __future__ import annotations

from uuid import UUID

from workflow_engine.observability import metrics
from workflow_engine.settings import Settings
from workflow_engine.states import OrphanReason
from workflow_engine.store.store import Store


class LostJobs:
    """None should exist; a foreign procrastinate worker that serves all queues takes jobs it cannot run."""

    name = "lost jobs"
    asked = False

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = 2 * settings.sweep_seconds
        self.patience = settings.lease_seconds
        self._max_crashes = settings.most_lost_claims
        self._after: UUID | None = None  # goes round the live workflows, a part of them at a time
        self._maintenance = store.maintenance

    async def sweep_once(self) -> dict[str, int]:
        mended, self._after = await self._maintenance.sweep_lost_jobs(self._after, max_crashes=self._max_crashes)
        metrics.count_orphans({OrphanReason.LOST_WAKEUP: mended})
        return {"mended": mended}
