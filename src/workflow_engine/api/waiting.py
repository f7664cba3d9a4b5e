"""Waiting for workflows to end: one poller for all requests of this process that wait."""

from __future__ import annotations

import asyncio
import contextlib
from uuid import UUID

from workflow_engine.errors import StoreUnavailable
from workflow_engine.states import TERMINAL_WORKFLOW_STATUSES
from workflow_engine.store.store import Store

_LOOK_SECONDS = 0.02
_AWAY_SECONDS = 0.5


class Waiting:
    """Asks Postgres for the statuses of all awaited workflows at once, every 20 ms while anyone waits."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiters: dict[UUID, set[asyncio.Future[None]]] = {}
        self._poller: asyncio.Task[None] | None = None

    async def until_ended(self, workflow_id: UUID, *, timeout: float) -> bool:
        """Wait until the workflow has ended, at most `timeout` seconds; returns whether it has.

        Being cancelled ends the wait as the timeout does: the server is stopping, and the workflow that was accepted
        is still to be answered for.
        """
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(workflow_id, set())
        waiters.add(ended)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            async with asyncio.timeout(timeout):
                await ended
        except (TimeoutError, asyncio.CancelledError):
            return False
        finally:
            waiters.discard(ended)
            if not waiters and self._waiters.get(workflow_id) is waiters:
                del self._waiters[workflow_id]
        return True

    async def close(self) -> None:
        """Stop looking; who still waits runs into its timeout."""
        if self._poller is not None:
            self._poller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._poller

    async def _poll(self) -> None:
        while self._waiters:
            try:
                statuses = await self._store.workflows.statuses(list(self._waiters))
            except StoreUnavailable:
                await asyncio.sleep(_AWAY_SECONDS)
                continue
            for workflow_id, status in statuses.items():
                if status in TERMINAL_WORKFLOW_STATUSES:
                    for ended in self._waiters.get(workflow_id, ()):
                        if not ended.done():
                            ended.set_result(None)
            await asyncio.sleep(_LOOK_SECONDS)
