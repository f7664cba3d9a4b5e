"""Takes back the tasks of workers that died or hung."""

from __future__ import annotations

import time
from datetime import datetime

from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
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
        # While Postgres was away nobody could renew. In a lease's time every worker that lives finds it again; what it
        # ran meanwhile is then neither lost nor done twice. So nothing is taken back for so long after this engine
        # began to lead, which covers what the start time of the server does not (a long recovery, a standby that was
        # promoted), nor after a time in which Postgres was not heard: it stood still, or took no writes.
        self.patience = 0.0
        self._patience_seconds = settings.lease_seconds
        self._patient_until = time.monotonic() + self._patience_seconds
        self._grace_seconds = settings.grace_seconds
        self._watches = 2 * self.every <= self._grace_seconds
        self._heard_at: datetime | None = None
        self._maintenance = store.maintenance
        self._log = get_logger("maintenance")

    async def sweep_once(self) -> dict[str, int]:
        heard_at = self._heard_at
        patient = time.monotonic() < self._patient_until
        taken, now = await self._maintenance.sweep_expired_leases(
            max_crashes=self._max_crashes,
            grace_seconds=self._grace_seconds,
            heard_at=heard_at,
            limit=0 if patient else _MOST,
        )
        self._heard_at = now if self._watches else None
        if heard_at is not None and (silence := (now - heard_at).total_seconds()) > self._grace_seconds:
            self._log.warning("postgres was not heard; leases are given time", seconds=round(silence, 1))
            self._patient_until = time.monotonic() + self._patience_seconds
        metrics.count_orphans(
            {reason: taken[reason] for reason in (OrphanReason.WORKER_DEAD, OrphanReason.LOCK_EXPIRED)}
        )
        return taken
