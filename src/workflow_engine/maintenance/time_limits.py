"""Fails workflows and tasks whose time is over."""

from __future__ import annotations

from workflow_engine.observability import metrics
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store


class TimeLimits:
    """The `timeout` of workflows, and how long tasks may wait for a worker or take in all. How long an attempt may take
    is for its worker to see to."""

    name = "time limits"
    asked = True
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = settings.poll_seconds
        self._maintenance = store.maintenance

    async def sweep_once(self) -> dict[str, int]:
        failed = {"workflow": await self._maintenance.sweep_timed_out(), **await self._maintenance.sweep_deadlines()}
        for kind, count in failed.items():
            metrics.time_limits.labels(kind).inc(count)
        return failed
