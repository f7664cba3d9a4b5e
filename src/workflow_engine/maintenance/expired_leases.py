"""Takes back the tasks of workers that died or hung."""

from __future__ import annotations

from workflow_engine.settings import Settings
from workflow_engine.store.store import Store


class ExpiredLeases:
    """Tasks whose lease ran out are tried again, or fail as `worker_lost` after too many lost claims."""

    name = "expired leases"

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = settings.sweep_seconds
        self._max_crashes = settings.max_crashes
        # After a start of Postgres every worker gets the time of two heartbeats to show that it still lives.
        self._grace_seconds = 2 * settings.heartbeat_seconds
        self._maintenance = store.maintenance

    async def sweep_once(self) -> dict[str, int]:
        recovered, failed = await self._maintenance.sweep_expired_leases(
            max_crashes=self._max_crashes, grace_seconds=self._grace_seconds
        )
        return {"recovered": recovered, "failed": failed}
