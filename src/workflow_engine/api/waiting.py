"""Waiting for workflows to end: Postgres tells of those that were started to be awaited; what is missed is looked for.

A workflow that was started before (idempotency), a lost connection, a database behind a transaction pooler: then the
waiters look, the less often the longer they wait, and all who look at the same time in one statement.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Sequence
from uuid import UUID

from workflow_engine.api.remembered import Remembered
from workflow_engine.api.rides import Rides
from workflow_engine.background import end_tasks
from workflow_engine.errors import StoreUnavailable
from workflow_engine.observability.logs import get_logger
from workflow_engine.queue.listening import listen
from workflow_engine.settings import Settings
from workflow_engine.states import TERMINAL_WORKFLOW_STATUSES
from workflow_engine.store.pool import as_uuid, connection_options
from workflow_engine.store.store import Store
from workflow_engine.store.workflows import ENDED_CHANNEL

_FIRST_LOOK_SECONDS = 0.02
_LOOK_FACTOR = 1.5
_LONGEST_LOOK_SECONDS = 1.0
_MOST_LOOKS = 1000
_HEARD = 10_000
_HEARD_SECONDS = 5.0  # an end may be heard of before the answer to its start has arrived


class Waiting:
    """Waits for workflows on behalf of requests."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._waiters: dict[UUID, set[asyncio.Future[None]]] = {}
        self._heard: Remembered[UUID, float] = Remembered(_HEARD)
        self._looks: Rides[UUID, str | None] = Rides(self._look, most=_MOST_LOOKS)
        self._listener: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        """Listen from now on; called before the start of what is awaited."""
        if self._settings.listen_notify and (self._listener is None or self._listener.done()):
            self._listener = asyncio.create_task(
                listen(
                    self._settings.session_database_url,
                    connection_options("workflow-engine waits"),
                    queues=(),
                    channels=(ENDED_CHANNEL,),
                    on_queue=lambda _: None,
                    on_channel=lambda _, workflow_id: self._hear(workflow_id),
                    log=get_logger("waits"),
                )
            )

    async def until_ended(self, workflow_id: UUID, *, timeout: float) -> tuple[bool, str | None]:
        """Wait until the workflow has ended, at most `timeout` seconds.

        Being cancelled ends the wait, too: the server is stopping, and the workflow that was accepted is still to be
        answered for.

        Returns:
            Whether it has ended, and its status as far as it is known.
        """
        if time.monotonic() - (self._heard.get(workflow_id) or -math.inf) < _HEARD_SECONDS:
            return True, None
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(workflow_id, set())
        waiters.add(ended)
        try:
            return await self._wait(workflow_id, ended, asyncio.get_running_loop().time() + timeout)
        except asyncio.CancelledError:
            return False, None
        finally:
            waiters.discard(ended)
            if not waiters and self._waiters.get(workflow_id) is waiters:
                del self._waiters[workflow_id]

    async def close(self) -> None:
        """Stop listening and looking."""
        if self._listener is not None:
            await end_tasks(self._listener)
        await self._looks.close()

    async def _wait(self, workflow_id: UUID, ended: asyncio.Future[None], until: float) -> tuple[bool, str | None]:
        pause = _FIRST_LOOK_SECONDS
        while True:
            left = until - asyncio.get_running_loop().time()
            await asyncio.wait([ended], timeout=min(pause, max(left, 0)))
            if ended.done():
                return True, None
            status = None
            with contextlib.suppress(StoreUnavailable):
                status = await self._looks.take(workflow_id)
            if status in TERMINAL_WORKFLOW_STATUSES or left <= pause:
                return status in TERMINAL_WORKFLOW_STATUSES, status
            pause = min(pause * _LOOK_FACTOR, _LONGEST_LOOK_SECONDS)

    def _hear(self, text: str) -> None:
        if (workflow_id := as_uuid(text)) is None:
            return
        self._heard.put(workflow_id, time.monotonic())
        for ended in self._waiters.get(workflow_id, ()):
            if not ended.done():
                ended.set_result(None)

    async def _look(self, workflow_ids: Sequence[UUID]) -> list[str | None]:
        statuses = await self._store.workflows.statuses(workflow_ids)
        return [statuses.get(workflow_id) for workflow_id in workflow_ids]
