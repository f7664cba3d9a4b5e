"""Takes back the tasks of workers that died or hung."""

from __future__ import annotations

from workflow_engine.maintenance.hearing import Hearing
from workflow_engine.observability import metrics
from workflow_engine.settings import Settings
from workflow_engine.states import OrphanReason
from workflow_engine.store.store import Store

_MOST = 500  # in one sweep


class ExpiredLeases:
    """Tasks whose lease ran out are tried again, or fail as `worker_lost` after too many lost claims."""

    name = "expired leases"
    asked = False

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = settings.sweep_seconds
        self._max_crashes = settings.most_lost_claims
        self.patience = 0.0  # it is `hearing` that is patient
        self.hearing = Hearing(settings)
        self._grace_seconds = settings.grace_seconds
        self._maintenance = store.maintenance

    async def sweep_once(self) -> dict[str, int]:
        taken, now = await self._maintenance.sweep_expired_leases(
            max_crashes=self._max_crashes,
            grace_seconds=self._grace_seconds,
            heard_at=self.hearing.at,
            limit=0 if self.hearing.patient else _MOST,
        )
        self.hearing.heard(now)
        metrics.count_orphans(
            {reason: taken[reason] for reason in (OrphanReason.WORKER_DEAD, OrphanReason.LOCK_EXPIRED)}
        )
        return taken
