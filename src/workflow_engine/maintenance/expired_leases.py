"""Takes back the tasks of workers that died or hung."""

from __future__ import annotations

from workflow_engine.observability import metrics
from workflow_engine.settings import Settings
from workflow_engine.states import OrphanReason
from workflow_engine.store.store import Store


class ExpiredLeases:
    """Tasks whose lease ran out are tried again, or fail as `worker_lost` after too many lost claims."""

    name = "expired leases"
    asked = False

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = settings.sweep_seconds
        self._max_crashes = settings.max_crashes
        # While Postgres was away nobody could renew. In a lease's time every worker that lives finds it again; what it
        # ran meanwhile is then neither lost nor done twice. The age of the leader's connection covers what the start
        # time of the server, which the function looks at, does not: a long recovery, and a standby that was promoted.
        self.patience = settings.lease_seconds
        self._grace_seconds = settings.grace_seconds
        self._maintenance = store.maintenance

    async def sweep_once(self) -> dict[str, int]:
        taken = await self._maintenance.sweep_expired_leases(
            max_crashes=self._max_crashes, grace_seconds=self._grace_seconds
        )
        metrics.count_orphans(
            {reason: taken[reason] for reason in (OrphanReason.WORKER_DEAD, OrphanReason.LOCK_EXPIRED)}
        )
        return taken
