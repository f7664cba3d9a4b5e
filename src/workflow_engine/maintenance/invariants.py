"""Looks whether what must hold of the data does, a part at a time, while the engine works."""

from __future__ import annotations

from uuid import UUID

from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

_MOST_TOLD = 100


class Invariants:
    """None should ever be broken; one that is tells of a bug, or of a hand in the tables. It mends nothing.

    It goes round the live workflows and those of the last hour. What it finds is logged once, and counted in
    `workflow_invariant_violations` until a whole round finds it no more.
    """

    name = "invariants"
    asked = False

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = 2 * settings.sweep_seconds
        self.patience = settings.lease_seconds  # what was left undone while nobody led is done by then
        self._maintenance = store.maintenance
        self._after: UUID | None = None
        self._found = 0  # in this round
        self._told: set[tuple[str, str | None, int | None]] = set()
        self._log = get_logger("invariants")
        metrics.invariant_violations.set(0)

    async def sweep_once(self) -> dict[str, int]:
        violations, self._after = await self._maintenance.sample_invariants(self._after)
        for violation in violations:
            which = violation.invariant, violation.workflow_id, violation.task_id
            if which not in self._told and len(self._told) < _MOST_TOLD:
                self._told.add(which)
                self._log.error(
                    "an invariant is broken",
                    invariant=violation.invariant,
                    workflow_id=violation.workflow_id,
                    task_id=violation.task_id,
                    found=violation.found,
                )
        self._found += len(violations)
        if self._after is None or self._found:
            metrics.invariant_violations.set(self._found)
        if self._after is None:
            self._found = 0
        return {}
