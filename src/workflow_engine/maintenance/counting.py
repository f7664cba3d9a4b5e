"""Counts the workflows that were started and that ended, and retries, for the metrics of whoever leads."""

from __future__ import annotations

from workflow_engine.observability.workflow_counts import BOUNDS, workflow_counts
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

_MOST_PARTS = 20


class Counting:
    """Reports nothing as done: what it does are metrics.

    Postgres remembers how far was counted, so a change of the leader neither loses nor doubles anything. Asked for with
    the narrator, whose events it counts, and for as long as it is behind.
    """

    name = "counting"
    every = 1.0
    asked = True
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self._maintenance = store.maintenance
        self.behind = True  # those who led before may have left something

    async def sweep_once(self) -> dict[str, int]:
        for _ in range(_MOST_PARTS):
            counts = await self._maintenance.count_events(BOUNDS)
            workflow_counts.count(counts)
            self.behind = counts.behind
            if not counts.more:
                break
        return {}
