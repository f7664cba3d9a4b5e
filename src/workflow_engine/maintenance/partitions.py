"""Makes partitions of events and attempts before they are needed."""

from __future__ import annotations

from workflow_engine.maintenance.retention import defaults
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

_EVERY_SECONDS = 60.0


class Partitions:
    """Rows that came before their partition was made are in a default one; they get a partition of their own."""

    name = "partitions"
    every = _EVERY_SECONDS
    asked = False
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self._defaults = defaults(settings)
        self._maintenance = store.maintenance
        self._log = get_logger("partitions")

    async def sweep_once(self) -> dict[str, int]:
        done = await self._maintenance.keep_partitions(self._defaults)
        metrics.rows_in_default.set(done["in_default"])
        if done["busy"]:
            self._log.warning(
                "partitions are not made yet: others hold the lock of their table", in_default=done["in_default"]
            )
        return {"made": done["made"], "drained": done["drained"]}
