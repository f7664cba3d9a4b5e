"""Looks whether what must hold of the data does, a part at a time, while the engine works."""

from __future__ import annotations

from uuid import UUID

from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

_MOST = 100  # that are told and looked at again


class Invariants:
    """None should ever be broken; one that is tells of a bug, or of a hand in the tables. It mends nothing.

    It goes round the live workflows, and picks some of the last hour. What it finds is logged once, looked at again
    each time, and counted in `workflow_invariant_violations` until it is gone.
    """

    name = "invariants"
    asked = False

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = 2 * settings.sweep_seconds
        self.patience = settings.lease_seconds  # what was left undone while nobody led is done by then
        self._maintenance = store.maintenance
        self._after: UUID | None = None
        self._broken: set[UUID] = set()  # workflows
        self._told: set[tuple[str, str | None, int | None]] = set()
        self._log = get_logger("invariants")

    async def sweep_once(self) -> dict[str, int]:
        violations, self._after = await self._maintenance.sample_invariants(self._after, self._broken)
        metrics.invariant_violations.set(len(violations))
        self._broken = {UUID(one.workflow_id) for one in violations[:_MOST] if one.workflow_id}
        for one in violations:
            which = one.invariant, one.workflow_id, one.task_id
            if which not in self._told and len(self._told) < _MOST:
                self._told.add(which)
                self._log.error(
                    "an invariant is broken",
                    invariant=one.invariant,
                    workflow_id=one.workflow_id,
                    task_id=one.task_id,
                    found=one.found,
                )
        return {}
