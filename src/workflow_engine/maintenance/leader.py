"""One leader among the engine processes does the duties.

The leader is whoever holds a session-level advisory lock. It is an economy, not a safety measure: a leader that lost
its connection without noticing sweeps beside its successor, and the duties are built for that. When the leader dies,
Postgres frees the lock with its connection, and another process takes over at its next try.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from structlog.typing import FilteringBoundLogger

from workflow_engine.errors import StoreUnavailable
from workflow_engine.maintenance.due_tasks import DueTasks
from workflow_engine.maintenance.duty import Duty
from workflow_engine.maintenance.expired_leases import ExpiredLeases
from workflow_engine.maintenance.held_tasks import HeldTasks
from workflow_engine.maintenance.leaked_jobs import LeakedJobs
from workflow_engine.maintenance.lost_jobs import LostJobs
from workflow_engine.maintenance.narrator import Narrator
from workflow_engine.maintenance.retired import Retired
from workflow_engine.observability.logs import get_logger
from workflow_engine.settings import Settings
from workflow_engine.store.pool import connection_options
from workflow_engine.store.store import Store

_ADVISORY_LOCK = 0x776F726B6C656164  # "worklead"


def duties(settings: Settings, store: Store) -> list[Duty]:
    """All duties, in the order in which they are done."""
    return [
        ExpiredLeases(settings, store),
        DueTasks(settings, store),
        HeldTasks(settings, store),
        LeakedJobs(settings, store),
        LostJobs(settings, store),
        Retired(settings, store),
        Narrator(settings, store),
    ]


@asynccontextmanager
async def run_maintenance(settings: Settings, store: Store) -> AsyncIterator[None]:
    """Take part in leading, in the background, for as long as the context is open."""
    log = get_logger("maintenance")
    task = asyncio.create_task(_lead(settings, duties(settings, store), log))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _lead(settings: Settings, todo: Sequence[Duty], log: FilteringBoundLogger) -> None:
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                settings.database_url, **connection_options("workflow-engine leader")
            ) as connection:
                connected = time.monotonic()
                await _wait_for_lock(connection, settings.sweep_seconds)
                log.info("leading")
                await _work(connection, connected, todo, log)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            log.warning("maintenance interrupted", error=str(error).strip())
            await asyncio.sleep(1)


async def _wait_for_lock(connection: psycopg.AsyncConnection[Any], seconds: float) -> None:
    while True:
        row = await (await connection.execute("select pg_try_advisory_lock(%s)", [_ADVISORY_LOCK])).fetchone()
        if row and row[0]:
            return
        await asyncio.sleep(seconds)


async def _work(
    connection: psycopg.AsyncConnection[Any], connected: float, todo: Sequence[Duty], log: FilteringBoundLogger
) -> None:
    due = {duty.name: connected + duty.patience for duty in todo}
    while True:
        await connection.execute("select 1")  # the lock is gone with the connection: stop then
        for duty in todo:
            if due[duty.name] <= time.monotonic():
                due[duty.name] = time.monotonic() + duty.every
                try:
                    done = await duty.sweep_once()
                except StoreUnavailable as error:  # or its pool is busy: our own connection knows better
                    log.warning("duty postponed", duty=duty.name, error=error.detail)
                    continue
                except psycopg.Error as error:  # a bug in one duty must not end the others
                    if isinstance(error, psycopg.OperationalError):
                        raise
                    log.exception("duty failed", duty=duty.name)
                    continue
                if any(done.values()):
                    log.info("swept", duty=duty.name, **done)
                    due[duty.name] = 0.0  # there may be more
        await asyncio.sleep(max(0.05, min(due.values()) - time.monotonic()))
