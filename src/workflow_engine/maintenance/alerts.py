"""Looks which conditions of alerts hold, so that who has no Prometheus is told, too."""

from __future__ import annotations

from workflow_engine.observability.alerts import holding
from workflow_engine.observability.logs import get_logger
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store


class Alerts:
    """Since when a condition holds is kept in Postgres, so that a new leader goes on where the old one was."""

    name = "alerts"
    asked = False
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = settings.sweep_seconds
        self._grace = settings.lease_seconds  # what was left undone while nobody led is done by then
        self._alerts = store.alerts
        self._log = get_logger("alerts")

    async def sweep_once(self) -> dict[str, int]:
        measures = await self._alerts.measures(grace_seconds=self._grace)
        fired, cleared = await self._alerts.keep(holding(measures), measures)
        for told, say in ((fired, "alert fires"), (cleared, "alert is over")):
            for alert in told:
                about = {"subject": alert["subject"]} if alert["subject"] else {}
                self._log.warning(
                    say, alert=alert["name"], **about, severity=alert["severity"], value=alert["value"],
                    threshold=alert["threshold"], since=alert["since"],
                )  # fmt: skip
        return {}  # it is told above
