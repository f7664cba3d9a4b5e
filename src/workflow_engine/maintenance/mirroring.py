"""Keeps Redis showing what Postgres has, for as long as this process leads."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from uuid import UUID

from workflow_engine.errors import EngineError, RedisUnavailable
from workflow_engine.mirror.client import Mirror
from workflow_engine.mirror.definitions import DefinitionCache
from workflow_engine.mirror.locks import LockKeys
from workflow_engine.mirror.pending import Deposed, PendingLists, Torn
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.queue.inserts import Inserts
from workflow_engine.settings import Settings
from workflow_engine.store.pool import connection_options
from workflow_engine.store.store import Store

MOST_PENDING = 100_000
"""Ids in the list; the gauge of the queue's depth has no bound."""
_EVERY_SECONDS = 1.0  # claims and due times do not notify
_DEBOUNCE_SECONDS = 0.25
_EMPTY_SECONDS = 4.0  # of a list that is empty, while it is told of what becomes pending
_SHARE = 10  # a snapshot may take one part in so many of the time
_LONGEST_SECONDS = 4.0  # between two all the same: one may have waited for a Postgres that hung
_DEPOSED_SECONDS = 5.0
_LOCKS_SECONDS = 2.0  # between looks at the keys of held locks


class PendingMirror:
    """Writes snapshots of the pending tasks: at once when something became pending, and again each second; less often
    when there are so many that it would take more than a tenth of the time."""

    def __init__(self, settings: Settings, store: Store, mirror: Mirror, epoch: int) -> None:
        self._mirrored = store.mirrored
        self._lists = PendingLists(mirror, epoch)
        self._inserts = (
            Inserts(settings.session_database_url, connection_options("workflow-engine mirror"))
            if settings.listen_notify
            else None
        )
        self._full = False
        self._refused = False
        self._log = get_logger("mirror")

    async def run(self) -> None:
        """Go on until cancelled, through outages of Redis and of Postgres."""
        try:
            while True:
                started = time.monotonic()
                length = await self.rebuild()
                took = time.monotonic() - started
                await self._pause(length, rest_after(took))
        finally:
            if self._inserts:
                await self._inserts.close()

    async def rebuild(self) -> int | None:
        """Write one snapshot; returns the length of the list, or None when that failed."""
        result = "failed"
        try:
            queues = await self._mirrored.pending_tasks(MOST_PENDING)
            length = await self._lists.write(queues)
        except Deposed:
            result = "refused"
            if not self._refused:
                self._refused = True
                self._log.warning("mirror refused: a later leader, or another deployment, writes to this redis")
            await asyncio.sleep(_DEPOSED_SECONDS)
        except (EngineError, Torn):
            pass  # Redis tells of itself once per outage, and Postgres' absence ends the lead
        except Exception:
            self._log.exception("mirror failed")
        else:
            result = "ok"
            self._refused = False
            metrics.queue_mirror_length.set(length)
            metrics.queue_mirror_last_success.set_to_current_time()
            self._note_full(length >= MOST_PENDING)
            return length
        finally:
            metrics.mirror_rebuilds.labels(result).inc()
        return None

    async def _pause(self, length: int | None, seconds: float) -> None:
        if length != 0 or self._inserts is None:
            await asyncio.sleep(seconds)
        elif await self._inserts.begin():  # else one more snapshot, for what came before it listened
            await self._inserts.heard(max(seconds, _EMPTY_SECONDS))
            await asyncio.sleep(_DEBOUNCE_SECONDS)  # more may come; and not more often than this

    def _note_full(self, full: bool) -> None:
        if full and not self._full:
            self._log.warning("more tasks are pending than the list in redis may hold", most=MOST_PENDING)
        self._full = full


def rest_after(took: float) -> float:
    """How long to wait after a snapshot that took so long, in seconds."""
    return min(max(_EVERY_SECONDS, _SHARE * took) - took, _LONGEST_SECONDS)


class LockMirror:
    """Shows which workflows hold locks, and does what an operator who deletes such a key wants."""

    def __init__(self, settings: Settings, store: Store, mirror: Mirror, epoch: int) -> None:
        self._every = min(settings.sweep_seconds, _LOCKS_SECONDS)
        self._mirrored = store.mirrored
        self._locks = store.locks
        self._keys = LockKeys(mirror, epoch)
        self._definitions = DefinitionCache(mirror)
        self._owed: set[UUID] = set()  # workflows whose release Postgres has not recorded yet
        self._log = get_logger("mirror")

    async def run(self) -> None:
        """Go on until cancelled, through outages of Redis and of Postgres."""
        while True:
            await self.sweep_once()
            await asyncio.sleep(self._every)

    async def sweep_once(self) -> None:
        """Write and renew all keys, and release what an operator released."""
        try:
            for workflow in list(self._owed):
                await self._release(workflow)
            with suppress(RedisUnavailable):
                await self._definitions.generation()  # so that there is one to delete
            self._owed |= set(await self._keys.sweep(await self._mirrored.held_locks()))
            for workflow in list(self._owed):
                await self._release(workflow)
        except EngineError:
            return  # Redis tells of itself once per outage, and Postgres' absence ends the lead
        except Exception:
            self._log.exception("lock keys failed")

    async def _release(self, workflow: UUID) -> None:
        released = await self._locks.release(str(workflow))
        self._owed.discard(workflow)
        if released.locks:
            metrics.locks_released_externally.inc()
            self._log.warning(
                "lock released externally",
                workflow_id=str(workflow),
                locks=",".join(released.locks),
                tasks=released.tasks,
            )
