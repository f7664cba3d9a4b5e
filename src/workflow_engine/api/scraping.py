"""What /metrics answers: this process' own metrics, and the gauges that every engine reads from Postgres."""

from __future__ import annotations

import asyncio
import contextlib

from prometheus_client import CollectorRegistry, generate_latest

from workflow_engine.errors import StoreUnavailable
from workflow_engine.observability.gauges import DatabaseGauges
from workflow_engine.store.store import Store

_FRESH_SECONDS = 2.0
_READ_SECONDS = 2.0


class Scraping:
    """Reads the gauges when somebody scrapes, and not more than once in two seconds.

    They have a registry of their own: several engines may live in one process, as in tests.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gauges = DatabaseGauges()
        self._registry = CollectorRegistry()
        self._registry.register(self._gauges)
        self._lock = asyncio.Lock()

    async def text(self) -> bytes:
        """Prometheus' text format. Without Postgres the last gauges are shown for half a minute, then none."""
        async with self._lock:
            if self._gauges.age > _FRESH_SECONDS:
                with contextlib.suppress(StoreUnavailable, TimeoutError):
                    async with asyncio.timeout(_READ_SECONDS):
                        self._gauges.update(await self._store.gauges())
        return generate_latest() + generate_latest(self._registry)
