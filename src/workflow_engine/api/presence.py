"""Tells Postgres that this engine lives, and what it alone knows: alerts without Prometheus need it."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.registry import Collector

from workflow_engine.errors import StoreUnavailable
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.observability.loop_lag import LoopLag
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

_LAST_SECONDS = 1.0


class Presence:
    """One engine process.

    Args:
        version: Of the engine.
        lag: Of its event loop.
    """

    def __init__(self, settings: Settings, store: Store, version: str, lag: LoopLag) -> None:
        self._every = settings.sweep_seconds
        self._alerts = store.alerts
        self._version = version
        self._lag = lag
        self._id: int | None = None
        self._told = {kind: count() for kind, count in _COUNTS.items()}
        self._log = get_logger("api")

    async def run(self) -> None:
        """Go on until cancelled, through outages of Postgres."""
        while True:
            try:
                await self.note()
            except StoreUnavailable:
                pass  # it is told by whoever needs Postgres
            except Exception:  # a bug here must not end it
                self._log.exception("presence not noted")
            await asyncio.sleep(self._every)

    async def note(self) -> None:
        """Say what there is to say now; what could not be said is said the next time."""
        counts = {kind: count() for kind, count in _COUNTS.items()}
        grown = {kind: int(count - self._told[kind]) for kind, count in counts.items() if count > self._told[kind]}
        self._id = await self._alerts.note_engine(
            self._id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=self._version,
            facts=self._facts(),
            incidents=grown,
        )
        self._told = counts

    async def end(self) -> None:
        """Say goodbye, if that is quick."""
        if self._id is not None:
            with suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await self._alerts.forget_engine(self._id)

    def _facts(self) -> Mapping[str, Any]:
        facts: dict[str, Any] = {"leads": False, "lag_seconds": round(self._lag.worst, 3)}
        if _one(metrics.ENGINE, "workflow_engine_leader"):
            facts |= {
                "leads": True,
                "default_rows": _one(metrics.ENGINE, "workflow_history_default_rows"),
                "invariant_violations": _one(metrics.ENGINE, "workflow_invariant_violations"),
            }
            written = _one(metrics.ENGINE, "workflow_queue_mirror_last_success_timestamp_seconds")
            if written:
                facts["mirror_length"] = int(_one(metrics.ENGINE, "workflow_queue_mirror_length"))
                facts["mirror_seconds"] = round(max(0.0, time.time() - written), 1)
        return facts


def _one(registry: CollectorRegistry, name: str) -> float:
    """What whoever scrapes this process would see of one metric, all its series together."""
    return _sum(registry.restricted_registry([name]))


def _sum(collector: Collector) -> float:
    return sum(sample.value for metric in collector.collect() for sample in metric.samples)


_COUNTS: Mapping[str, Callable[[], float]] = {
    "api_errors": lambda: _sum(metrics.internal_errors),
    "pool_timeouts": lambda: _one(REGISTRY, "workflow_postgres_pool_timeouts_total"),
    "audit_rows_lost": lambda: _one(metrics.ENGINE, "workflow_audit_rows_lost_total"),
    "deadlocks": lambda: _one(metrics.ENGINE, "workflow_deadlocks_detected_total"),
}
"""What is an incident when it grows."""
