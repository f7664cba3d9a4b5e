"""Looks after budgets: stops what was locked when its budget was used up, and tells which bounds were reached."""

from __future__ import annotations

from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store


class Budgets:
    name = "budgets"
    asked = True
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = settings.poll_seconds
        self._maintenance = store.maintenance
        self._log = get_logger("budgets")

    async def sweep_once(self) -> dict[str, int]:
        reached = await self._maintenance.sweep_budgets()
        for bound in reached:
            metrics.budget_bounds_reached.labels(bound["kind"]).inc()
            self._log.warning(
                "budget exceeded" if bound["kind"] == "hard" else "budget is running out",
                workflow_id=bound["workflow_id"],
                name=bound["name"],
                bound=bound["bound"],
                used=bound["used"],
                most=bound["most"],
            )
        return {"reached": len(reached)}
