"""The plans a worker has read: each once, however many of its tasks begin together."""

from __future__ import annotations

import asyncio

from workflow_engine.definition.plan import Plan
from workflow_engine.store.definitions import Definitions


class Plans:
    """Reads plans and keeps them, as versions never change.

    One of 10,000 steps takes a third of a second to read: by each of a hundred attempts on its own, half a minute.
    """

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._known: dict[int, Plan] = {}
        self._reading: dict[int, asyncio.Task[Plan]] = {}

    def get(self, version_id: int) -> Plan | None:
        """The plan of a version, if it was read before."""
        return self._known.get(version_id)

    async def read(self, version_id: int) -> Plan:
        """The plan of a version; whoever asks while it is being read waits for the same.

        Raises:
            DefinitionNotFound: There is no such version.
            StoreUnavailable: Postgres cannot be reached.
        """
        reading = self._reading.get(version_id)
        if reading is None:
            reading = self._reading[version_id] = asyncio.create_task(self._definitions.plan(version_id))
            reading.add_done_callback(lambda done: self._keep(version_id, done))
        return await asyncio.shield(reading)  # whoever is cancelled leaves it to the others

    def forget(self) -> None:
        """Read all anew from now on; who waits for a plan gets it as it was."""
        self._known, self._reading = {}, {}

    def _keep(self, version_id: int, done: asyncio.Task[Plan]) -> None:
        failed = done.cancelled() or done.exception() is not None  # asked for, so that nobody is told it was not
        if self._reading.get(version_id) is done:
            del self._reading[version_id]
            if not failed:
                self._known[version_id] = done.result()
