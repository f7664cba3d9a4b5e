"""What /metrics answers: this process' own metrics, and the gauges that every engine reads from Postgres."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest

from workflow_engine.errors import StoreUnavailable
from workflow_engine.observability.gauges import DatabaseGauges, Reading
from workflow_engine.observability.logs import get_logger
from workflow_engine.observability.metrics import ENGINE
from workflow_engine.observability.workflow_counts import workflow_counts
from workflow_engine.records import Gauges, WorkflowGauges
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

_READ_SECONDS = 2.0

T = TypeVar("T")


class Scraping:
    """Reads the gauges when somebody scrapes, and not more than once in two seconds.

    They have a registry of their own: several engines may live in one process, as in tests.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = store
        self._grace_seconds = settings.grace_seconds
        workflow_counts.labels.most = settings.metrics_definitions
        self._gauges = DatabaseGauges(workflow_counts.labels)
        self._registry = CollectorRegistry()
        self._registry.register(self._gauges)
        self._lock = asyncio.Lock()

    async def text(self) -> bytes:
        """Prometheus' text format. Without Postgres the last gauges are shown for half a minute, then none."""
        async with self._lock:
            try:
                await self._read(self._gauges.engine, self._store.gauges)
                await self._read(self._gauges.workflows, self._workflow_gauges)
            except (StoreUnavailable, TimeoutError):
                pass
            except Exception:  # a schema that is not migrated yet: what the process knows itself is shown all the same
                get_logger("api").exception("gauges not read")
        return generate_latest() + generate_latest(ENGINE) + generate_latest(self._registry)

    async def gauges(self) -> Gauges:
        """Where the engine stands, as /metrics shows it: not older than two seconds.

        Raises:
            StoreUnavailable: Postgres does not answer.
        """
        async with self._lock:
            try:
                return await self._read(self._gauges.engine, self._store.gauges)
            except TimeoutError:
                raise StoreUnavailable("Postgres took too long.", hint="Repeat the request.") from None

    async def _read(self, reading: Reading[T], read: Callable[[], Awaitable[T]]) -> T:
        if (last := reading.recent) is not None and not reading.due:
            return last
        begun = time.monotonic()
        async with asyncio.timeout(_READ_SECONDS):
            answer = await read()
        reading.update(answer, time.monotonic() - begun)
        return answer

    async def _workflow_gauges(self) -> WorkflowGauges:
        if not workflow_counts.labels.full:  # before somebody starts them, so that their first counts are increases
            workflow_counts.admit(await self._store.definitions.labels(workflow_counts.labels.most))
        return await self._store.workflow_gauges(grace_seconds=self._grace_seconds)
