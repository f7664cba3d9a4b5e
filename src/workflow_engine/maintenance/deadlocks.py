"""Finds workflows that wait for each other's locks, says so, and breaks the circle where it may."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.records import Deadlock
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

_REPEAT_SECONDS = 30.0


class Deadlocks:
    """By `DEADLOCK_DETECTION`: `warn` tells each circle, again after 30 s while it lasts; `true` also fails the task
    that began to wait last, so that the others go on.

    Args:
        now: The time in seconds, from any beginning.
    """

    name = "deadlocks"
    asked = True
    patience = 0.0

    def __init__(self, settings: Settings, store: Store, now: Callable[[], float] = time.monotonic) -> None:
        self.every = min(settings.sweep_seconds, _REPEAT_SECONDS)
        self._breaks = settings.deadlock_detection == "true"
        self._locks = store.locks
        self._now = now
        self._told: dict[tuple[UUID, ...], float] = {}  # when each circle that lasts was told
        self._log = get_logger("maintenance")

    async def sweep_once(self) -> dict[str, int]:
        found = await self._locks.deadlocks()
        self._told = {cycle: self._told[cycle] for d in found if (cycle := d.workflows) in self._told}
        for deadlock in found:
            self._tell(deadlock)
        broken = 0
        if self._breaks:
            for deadlock in found:
                broken += await self._break(deadlock)
        return {"broken": broken}

    def _tell(self, deadlock: Deadlock) -> None:
        last = self._told.get(deadlock.workflows)
        if last is None:
            metrics.deadlocks_detected.inc()
        elif self._now() - last < _REPEAT_SECONDS:
            return
        self._told[deadlock.workflows] = self._now()
        for workflow in deadlock.workflows:  # a line each: whoever looks for one of them by its id finds it
            self._log.warning(
                f"Circular dependency detected: {deadlock.path}",
                workflow_id=str(workflow),
                locks=",".join(sorted({wait.key for wait in deadlock.waits})),
            )

    async def _break(self, deadlock: Deadlock) -> bool:
        victim = deadlock.youngest
        if not await self._locks.break_deadlock(deadlock):
            return False
        self._log.warning(
            "circular dependency broken",
            workflow_id=str(victim.waiter),
            task_id=str(victim.task_id),
            lock=victim.key,
            cycle=deadlock.path,
        )
        return True
