"""Whether there is room for more: starts are refused while more tasks are pending than may."""

from __future__ import annotations

import asyncio
import contextlib
import time

from workflow_engine.background import end_tasks
from workflow_engine.errors import EngineError, Overloaded
from workflow_engine.observability.logs import get_logger
from workflow_engine.store.store import Store

_LOOK_SECONDS = 5.0
_TASKS_OF_A_START = 100  # assumed, to look again before the room that was left is taken
_SHARE = 20  # a look may take a twentieth of the time
_RETRY_AFTER = 5
_log = get_logger("api")


class Admission:
    """Counts what is pending while starts arrive, beside them: a start never waits for it while there is room.

    Args:
        store: Postgres.
        most: Tasks that may be pending; 0 = any number.
    """

    def __init__(self, store: Store, most: int) -> None:
        self._store = store
        self._most = most
        self._is_full = False
        self._starts_until_look = 0
        self._look_at = self._not_before = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Refuse a start when there is no room for it.

        Raises:
            Overloaded: More tasks are pending than may.
        """
        if not self._most:
            return
        self._starts_until_look -= 1
        now = time.monotonic()
        is_due = now >= self._not_before and (self._starts_until_look < 0 or now >= self._look_at)
        if is_due and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look())
        if self._is_full and self._looking is not None:
            await asyncio.wait([self._looking])
        if self._is_full:
            raise Overloaded(
                f"At least {self._most:,} tasks are pending: nothing more is accepted for now.",
                retry_after=_RETRY_AFTER,
                hint="Nothing was started. Try again later; operators add workers or raise WORKFLOW_MAX_PENDING.",
            )

    async def close(self) -> None:
        if self._looking is not None:
            await end_tasks(self._looking)

    async def _look(self) -> None:
        began = time.monotonic()
        with contextlib.suppress(EngineError):  # Postgres is away, which a start notices by itself
            pending = await self._store.engine.count_pending(most=self._most)
            was_full, self._is_full = self._is_full, pending >= self._most
            if self._is_full != was_full:
                event = "starts are refused" if self._is_full else "starts are accepted again"
                _log.warning(event, pending=pending, most=self._most)
            self._starts_until_look = (self._most - pending) // _TASKS_OF_A_START
        now = time.monotonic()
        self._look_at = now + _LOOK_SECONDS
        self._not_before = now + min(_SHARE * (now - began), _LOOK_SECONDS)
