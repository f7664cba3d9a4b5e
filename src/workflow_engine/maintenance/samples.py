"""Notes every ten seconds where the engine stands, so that pages can show how it was."""

from __future__ import annotations

from workflow_engine.store.store import Store


class Samples:
    """One row at each sweep."""

    name = "samples"
    asked = False
    patience = 0.0
    every = 10.0

    def __init__(self, store: Store) -> None:
        self._maintenance = store.maintenance

    async def sweep_once(self) -> dict[str, int]:
        await self._maintenance.take_sample()
        return {}  # nothing that anybody would want to read in the log
