"""One leader among the engine processes does the duties, and shows in Redis what Postgres has.

The leader is whoever holds a session-level advisory lock. It is an economy, not a safety measure: a leader that lost
its connection without noticing sweeps beside its successor, and the duties are built for that. What it writes to Redis
is fenced by the epoch that each new leader draws.

When the leader dies, Postgres frees the lock with its connection. When it hangs, it no longer pings, and Postgres ends
its connection after `_IDLE_SECONDS`. Another process takes over at its next try: in both cases within 15 s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from structlog.typing import FilteringBoundLogger

from workflow_engine.background import end_tasks
from workflow_engine.errors import StoreUnavailable
from workflow_engine.maintenance.alerts import Alerts
from workflow_engine.maintenance.audit import AuditRetention
from workflow_engine.maintenance.budgets import Budgets
from workflow_engine.maintenance.children import Children
from workflow_engine.maintenance.concerns import Concerns
from workflow_engine.maintenance.counting import Counting
from workflow_engine.maintenance.deadlocks import Deadlocks
from workflow_engine.maintenance.due_tasks import DueTasks
from workflow_engine.maintenance.duty import Duty
from workflow_engine.maintenance.emitted_signals import EmittedSignals
from workflow_engine.maintenance.expired_leases import ExpiredLeases
from workflow_engine.maintenance.held_tasks import HeldTasks
from workflow_engine.maintenance.invariants import Invariants
from workflow_engine.maintenance.leaked_jobs import LeakedJobs
from workflow_engine.maintenance.lost_jobs import LostJobs
from workflow_engine.maintenance.mirroring import LockMirror, PendingMirror
from workflow_engine.maintenance.narrator import Narrator
from workflow_engine.maintenance.partitions import Partitions
from workflow_engine.maintenance.retention import Retention
from workflow_engine.maintenance.retired import Retired
from workflow_engine.maintenance.samples import Samples
from workflow_engine.maintenance.schedules import Schedules
from workflow_engine.maintenance.time_limits import TimeLimits
from workflow_engine.maintenance.webhooks import Webhooks
from workflow_engine.mirror.client import Mirror
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.observability.tracing import spans
from workflow_engine.patience import PING_SECONDS, answered_within
from workflow_engine.settings import Settings
from workflow_engine.store.pool import connection_options
from workflow_engine.store.server_settings import SETTINGS, unsafe_settings
from workflow_engine.store.store import Store

_ADVISORY_LOCK = 0x776F726B6C656164  # "worklead"
_IDLE_SECONDS = 10  # a leader that was not heard of for so long is none
_PING_SECONDS = 3.0
_TRY_SECONDS = 2.0  # between the tries of those who do not lead
_TOGETHER_SECONDS = 0.2  # what is due so soon is done now, so that one look serves all
_SHARE = 20  # a duty that finds nothing may take one part in so many of the time
_TRACES = "traces"
_LAST_SECONDS = 0.8  # less than what `end_tasks` waits before it cancels once more
_SLACK_SECONDS = 0.5  # that one which others wait for may come late for that reason


def duties(settings: Settings, store: Store) -> list[Duty]:
    """The duties that are done one after the other, in this order."""
    found: list[Duty] = [
        ExpiredLeases(settings, store),
        DueTasks(settings, store),
        HeldTasks(settings, store),
        TimeLimits(settings, store),
        Children(settings, store),
        Schedules(settings, store),
        Budgets(settings, store),
        EmittedSignals(settings, store),
        LeakedJobs(settings, store),
        LostJobs(settings, store),
        Retired(settings, store),
        AuditRetention(settings, store),
        Partitions(settings, store),
        Retention(settings, store),
        Narrator(settings, store),
        Samples(store),
        Counting(settings, store),
    ]
    if settings.deadlock_detection != "off":
        found.append(Deadlocks(settings, store))
    if (written := spans()) is not None:
        from workflow_engine.maintenance.traces import Traces  # needs the extra `otel`, as spans do

        found.append(Traces(store, written))
    return found


@asynccontextmanager
async def run_maintenance(settings: Settings, store: Store, mirror: Mirror) -> AsyncIterator[None]:
    """Take part in leading, in the background, for as long as the context is open."""
    running: set[asyncio.Task[None]] = set()  # with the parts of its work, so that each of them is ended for certain
    running.add(asyncio.create_task(_take_part(settings, store, mirror, running)))
    try:
        yield
    finally:
        if not await end_tasks(*running):
            get_logger("maintenance").warning("maintenance does not end")


async def _take_part(settings: Settings, store: Store, mirror: Mirror, running: set[asyncio.Task[None]]) -> None:
    log = get_logger("maintenance")
    options = connection_options("workflow-engine leader")
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(settings.session_database_url, **options) as connection:
                connected = time.monotonic()
                with answered_within(connection, PING_SECONDS):
                    # A statement, as a pooler would not pass it on among the options.
                    await connection.execute(f"set idle_session_timeout = '{_IDLE_SECONDS}s'".encode())
                epoch = await _epoch_of_lead(connection, min(settings.sweep_seconds, _TRY_SECONDS))
                log.info("leading", epoch=epoch)
                await _warn_of_settings(connection, log)
                metrics.engine_leader.set(1)
                todo = duties(settings, store)  # made anew: they remember what they told, and another has led meanwhile
                beside: list[Duty] = [
                    Alerts(settings, store),
                    Invariants(settings, store),
                ]  # nobody has to wait for them
                webhooks = Webhooks(settings, store)
                concerns = Concerns(store, todo, webhooks)
                try:
                    await _until_one_fails(
                        running,
                        _stay(connection),
                        _work(connected, todo, concerns, settings.sweep_seconds, log),
                        _work(connected, beside, concerns, settings.sweep_seconds, log),
                        PendingMirror(settings, store, mirror, epoch).run(),
                        LockMirror(settings, store, mirror, epoch).run(),
                        webhooks.run(),
                    )
                except asyncio.CancelledError:  # the process ends
                    await _write_last_spans(todo, log)
                    raise
        except psycopg.Error as error:
            log.warning("maintenance interrupted", error=str(error).strip())
        except Exception:  # a bug: lead again, or let another try
            log.exception("maintenance failed")
        finally:
            for gauge in metrics.OF_THE_LEADER:  # another says it now, and what was is not true any more
                gauge.set(0)
        await asyncio.sleep(1)


async def _write_last_spans(todo: Sequence[Duty], log: FilteringBoundLogger) -> None:
    """What ended in the last second would have no span where no other engine leads soon."""
    for duty in todo:
        if duty.name == _TRACES:
            try:
                async with asyncio.timeout(_LAST_SECONDS):
                    await duty.sweep_once()
            except Exception as error:  # whatever it is, the process ends
                log.warning("last spans not written", error=str(error) or type(error).__name__)


async def _warn_of_settings(connection: psycopg.AsyncConnection[Any], log: FilteringBoundLogger) -> None:
    """Say what in the configuration of Postgres does not go with the engine."""
    with answered_within(connection, PING_SECONDS):
        found = await (await connection.execute(SETTINGS)).fetchall()
    for unsafe in unsafe_settings(dict(found)):
        log.warning(
            "unsafe setting of postgres", setting=unsafe.name, value=unsafe.value, why=unsafe.why, fix=unsafe.fix
        )


async def _until_one_fails(running: set[asyncio.Task[None]], *works: Coroutine[Any, Any, None]) -> None:
    """Do all of it at once until one raises; the others are ended then, and that is raised.

    Not a TaskGroup: it takes a cancellation that arrives while it fails for done.
    """
    tasks = [asyncio.create_task(work) for work in works]
    running.update(tasks)
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        if await end_tasks(*tasks):
            running.difference_update(tasks)


async def _epoch_of_lead(connection: psycopg.AsyncConnection[Any], seconds: float) -> int:
    """Wait until this process leads, trying again and again; returns the number of its lead."""
    query = "select nextval('workflow.leader_epoch') where pg_try_advisory_lock(%s)"
    while True:
        with answered_within(connection, PING_SECONDS):
            row = await (await connection.execute(query, [_ADVISORY_LOCK])).fetchone()
        if row:
            return int(row[0])
        await asyncio.sleep(seconds)


async def _stay(connection: psycopg.AsyncConnection[Any]) -> None:
    """Keep the connection from idling out; raises when it is gone, and with it the lock."""
    while True:
        with answered_within(connection, PING_SECONDS):
            await connection.execute("select 1")
        await asyncio.sleep(_PING_SECONDS)


def next_sweep(every: float, took: float, *, prompt: bool) -> float:
    """Seconds from the start of a sweep that took so long and found nothing to the start of the next one.

    Sweeps are dear while a transaction is held open, since all that has ended is still read then, and they come less
    often. Those that others wait for (`prompt`) come in time all the same: a sweep may only have waited for a Postgres
    that was busy, or silent for a moment.
    """
    dear = _SHARE * took
    if prompt:
        dear = min(dear, max(every + _SLACK_SECONDS, 2 * took))
    return max(every, dear)


async def _work(
    connected: float, todo: Sequence[Duty], concerns: Concerns, prompt: float, log: FilteringBoundLogger
) -> None:
    due = {duty.name: connected + duty.patience for duty in todo}
    while True:
        soon = time.monotonic() + _TOGETHER_SECONDS
        now = [duty for duty in todo if due[duty.name] <= soon]
        concerned = await concerns.look() if any(duty.asked for duty in now) else frozenset()
        for duty in now:
            started = time.monotonic()
            due[duty.name] = started + duty.every
            if duty.asked and duty.name not in concerned:
                continue
            try:
                done = await duty.sweep_once()
            except StoreUnavailable as error:  # or its pool is busy: the leader's own connection knows better
                log.warning("duty postponed", duty=duty.name, error=error.detail)
                continue
            except Exception:  # a bug in one duty must not end the others
                log.exception("duty failed", duty=duty.name)
                continue
            took = time.monotonic() - started
            metrics.sweep_duration.labels(duty.name).observe(took)
            if any(done.values()):
                log.info("swept", duty=duty.name, **done)
                due[duty.name] = 0.0  # there may be more
            else:
                due[duty.name] = started + next_sweep(duty.every, took, prompt=duty.every <= prompt)
        await asyncio.sleep(max(0.05, min(due.values()) - time.monotonic()))
