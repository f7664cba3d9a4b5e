"""Delivers the signals that workflows emitted to others."""

from __future__ import annotations

from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store


class EmittedSignals:
    """A signal for a workflow that has ended, or that there never was, becomes a dead letter."""

    name = "emitted signals"
    asked = True
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = settings.poll_seconds
        self._outbox = store.outbox
        self._log = get_logger("maintenance")

    async def sweep_once(self) -> dict[str, int]:
        done, letters = await self._outbox.deliver_signals()
        metrics.deliveries.labels("signal", "delivered").inc(done["delivered"])
        metrics.deliveries.labels("signal", "dead").inc(done["dead"])
        for letter in letters:
            self._log.warning(
                "delivery given up",
                workflow_id=letter["workflow_id"],
                delivery_id=letter["id"],
                to="signal",
                name=letter["name"],
                target=letter["target"],
                error=letter["error"],
            )
        return done
