"""What definitions may name: the task types that workers registered, the secrets and the database connections."""

from __future__ import annotations

import asyncio
import os
import time

from workflow_engine.definition.known import Known
from workflow_engine.secrets import Secrets
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

_FRESH_SECONDS = 2.0


class KnownNames:
    """What the database and the environment say, at most two seconds old."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = store
        self._secrets = Secrets(os.environ, settings.secrets_dir)
        # Where the API was told of none, workers alone may have them.
        self._connections = frozenset(settings.connections) or None
        self._known = Known()
        self._read_at = float("-inf")

    async def known(self, *, fresh: bool = False) -> Known:
        """All known names; `fresh` asks the database in any case."""
        if fresh or time.monotonic() - self._read_at > _FRESH_SECONDS:
            types = frozenset(await self._store.workers.task_types())
            self._known = Known(types, await asyncio.to_thread(self._secrets.names), self._connections)
            self._read_at = time.monotonic()
        return self._known
