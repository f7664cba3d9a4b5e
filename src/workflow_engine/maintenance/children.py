"""Tells parents and children what they could not tell each other at once."""

from __future__ import annotations

from workflow_engine.settings import Settings
from workflow_engine.store.store import Store


class Children:
    """A child that ends wakes its parent's task, unless somebody has that locked; this does it then. And it cancels the
    children of parents that have failed, timed out, or go on without them."""

    name = "child workflows"
    asked = True
    patience = 0.0

    def __init__(self, settings: Settings, store: Store) -> None:
        self.every = settings.poll_seconds
        self._after: int | None = None  # goes round the tasks that wait for a workflow that is not their child
        self._maintenance = store.maintenance

    async def sweep_once(self) -> dict[str, int]:
        done, self._after = await self._maintenance.sweep_children(self._after)
        return done
