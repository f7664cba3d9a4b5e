"""The task types that workers registered, remembered for a moment."""

from __future__ import annotations

import time

from workflow_engine.store.store import Store

_FRESH_SECONDS = 2.0


class TaskTypes:
    """What the record in the database says, at most two seconds old."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: frozenset[str] = frozenset()
        self._read_at = float("-inf")

    async def known(self, *, fresh: bool = False) -> frozenset[str]:
        """Names of all known types; `fresh` asks the database in any case."""
        if fresh or time.monotonic() - self._read_at > _FRESH_SECONDS:
            self._names = frozenset(await self._store.workers.task_types())
            self._read_at = time.monotonic()
        return self._names
