"""Postgres away, silent, slow, full, or of another mind."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress

import psycopg

from chaos.cluster import LEASE_SECONDS, MAX_CONNECTIONS
from chaos.faults.fault import Fault, Finding
from chaos.world import World

_LISTENING_AGAIN_SECONDS = 10.0
_START_BOUND = 5.0
_SUCCESS_SECONDS = 30.0  # nobody waits longer for a figure
_START_SECONDS = 90.0  # the same where all processes have to start first
_OTHERS = "pid <> pg_backend_pid() and datname = current_database() and backend_type = 'client backend'"


async def restart(world: World) -> Finding:
    """An immediate stop for two seconds: no checkpoint, no goodbye."""
    return await _away(world, signal.SIGQUIT, 2)


async def kill(world: World) -> Finding:
    """kill -9 of the postmaster: Postgres recovers from its log."""
    return await _away(world, signal.SIGKILL, 0.5)


async def fast_restart(world: World) -> Finding:
    """A fast stop, as an administrator restarts a server."""
    return await _away(world, signal.SIGINT, 0.1)


async def long_outage(world: World) -> Finding:
    """Away for longer than several leases: engines say 503 and when to try again, workers wait."""
    return await _away(world, signal.SIGQUIT, 4 * LEASE_SECONDS)


async def _away(world: World, how: signal.Signals, seconds: float) -> Finding:
    cluster = world.cluster
    pid = cluster.postgres.pid
    if pid is None:
        return Finding()
    pids = cluster.processes()
    cluster.keep_down("postgres")
    finding = Finding()
    try:
        os.kill(pid, how)
        if not await world.gone(pid, 40):
            return Finding()
        cut = time.time()
        if seconds > LEASE_SECONDS:
            await asyncio.sleep(LEASE_SECONDS)
            finding.wrong += await _says_that_it_is_away(world)
        await asyncio.sleep(max(seconds - (time.time() - cut), 0))
    finally:
        cluster.let_up("postgres")
    await world.find(lambda: _is_back(world), 60)
    back = time.time()
    finding.proof = (
        f"postmaster {pid} ended by {how.name} and was away for {back - cut:.1f} s; it is {cluster.postgres.pid} now"
    )
    await _measure_first_success(world, finding, back)
    if died := [name for name, each in pids.items() if cluster.processes().get(name) != each]:
        finding.wrong.append(f"ended because Postgres was away: {', '.join(died)}")
    return finding


async def _says_that_it_is_away(world: World) -> list[str]:
    wrong = []
    for number in range(len(world.cluster.engine_urls)):
        answer = await world.client.call("GET", "/api/v1/workflows?limit=1", engine=number)
        if answer is None or answer.status != 503 or "retry-after" not in answer.headers:
            wrong.append(f"engine {number + 1} said {answer.status if answer else 'nothing'} while Postgres was away")
    return wrong


async def _is_back(world: World) -> bool:
    return bool(await world.value("select true"))


async def _measure_first_success(
    world: World, finding: Finding, since: float, seconds: float = _SUCCESS_SECONDS
) -> None:
    took = await world.first_success(since, seconds)
    if took is None:
        finding.wrong.append(f"no step succeeded within {seconds:g} s")
    else:
        finding.recoveries = [took]


async def terminate_all(world: World) -> Finding:
    """Every session is ended by an administrator."""
    ended = await world.value(f"select count(pg_terminate_backend(pid)) from pg_stat_activity where {_OTHERS}")
    since = time.time()
    finding = Finding(f"{ended} sessions were terminated" if ended else "")
    await _measure_first_success(world, finding, since)
    return finding


async def cut_listeners(world: World) -> Finding:
    """The sessions that LISTEN are ended: what is new is found all the same, by looking."""
    ended, until = 0, time.monotonic() + _LISTENING_AGAIN_SECONDS
    while not ended and time.monotonic() < until:  # after the fault before it nobody may listen yet
        ended = await world.value(
            f"select count(pg_terminate_backend(pid)) from pg_stat_activity where {_OTHERS} and query ilike 'listen%%'"
        )
        await asyncio.sleep(0.1)
    since = time.time()
    finding = Finding(f"{ended} listening sessions were terminated" if ended else "")
    await _measure_first_success(world, finding, since)
    return finding


async def cut(world: World) -> Finding:
    """All connections are reset."""
    ended = world.cluster.ways["postgres"].cut()
    since = time.time()
    finding = Finding(f"{ended} connections were reset" if ended else "")
    await _measure_first_success(world, finding, since)
    return finding


async def freeze(world: World) -> Finding:
    """Connections that are half open: nothing comes, nothing is closed, for longer than a lease."""
    way = world.cluster.ways["postgres"]
    held = way.counts.held
    way.freeze()
    try:
        await asyncio.sleep(2 * LEASE_SECONDS)
        held = way.counts.held - held
    finally:
        way.thaw()
    since = time.time()
    finding = Finding(f"{held} messages got stuck for up to {2 * LEASE_SECONDS:g} s" if held else "")
    await _measure_first_success(world, finding, since)
    return finding


async def slow(world: World) -> Finding:
    """Every message is late, in both directions: slower, and no lease runs out."""
    way = world.cluster.ways["postgres"]
    since = time.time()
    forwarded = way.counts.forwarded
    way.delay = 0.1
    try:
        await asyncio.sleep(6)
        forwarded = way.counts.forwarded - forwarded
    finally:
        way.delay = 0.0
    lost = await world.value(
        "select count(*) from workflow.attempt_history where outcome = 'lost' and ended_at > to_timestamp(%s)", since
    )
    finding = Finding(f"{forwarded} bytes were 0.2 s late there and back; {lost} leases were lost" if forwarded else "")
    if lost:
        finding.wrong.append(f"{lost} leases were lost because Postgres was slow")
    return finding


async def lose_replies(world: World) -> Finding:
    """What was done is not told: the reply to some statements goes lost with its connection."""
    way = world.cluster.ways["postgres"]
    lost = way.counts.lost
    way.lose_replies(0.03, world.chance.randrange(2**32))
    try:
        await asyncio.sleep(5)
        lost = way.counts.lost - lost
    finally:
        way.lose_replies(0)
    since = time.time()
    finding = Finding(f"{lost} replies were lost" if lost else "")
    await _measure_first_success(world, finding, since)
    return finding


async def refuse_statements(world: World) -> Finding:
    """Every fiftieth change of a workflow's events is refused as Postgres refuses what it asks to be sent again."""
    state = world.chance.choice(["40001", "40P01", "55P03"])
    await world.rows("create sequence if not exists public.chaos_refusals")
    await world.rows("select setval('public.chaos_refusals', 1)")
    await world.rows(
        "create or replace function public.chaos_refuse() returns trigger language plpgsql as $$ begin"
        f" if nextval('public.chaos_refusals') %% 50 = 0 then raise exception 'chaos' using errcode = '{state}';"
        " end if;"
        " return null; end $$"
    )
    await world.rows(
        "create or replace trigger chaos_refuse after insert on workflow.events"
        " for each statement execute function public.chaos_refuse()"
    )
    try:
        await asyncio.sleep(5)
        seen = await world.value("select last_value from public.chaos_refusals")
    finally:
        await heal(world)
    since = time.time()
    finding = Finding(f"{seen // 50} statements were refused with {state}" if seen >= 50 else "")
    await _measure_first_success(world, finding, since)
    return finding


async def heal(world: World) -> None:
    """Take away what refuses statements, if it is there."""
    await world.rows("drop trigger if exists chaos_refuse on workflow.events")


async def fill_up(world: World) -> Finding:
    """All connections are taken by others, and those that there were are ended."""
    hoard: list[psycopg.AsyncConnection[tuple[object, ...]]] = []
    refused = ""
    try:
        ended = await world.value(f"select count(pg_terminate_backend(pid)) from pg_stat_activity where {_OTHERS}")
        for _ in range(MAX_CONNECTIONS):
            try:
                hoard.append(await psycopg.AsyncConnection.connect(world.cluster.postgres.url, autocommit=True))
            except psycopg.OperationalError as error:
                refused = str(error)
                break
        await asyncio.sleep(5)
    finally:
        for connection in hoard:
            with suppress(psycopg.Error):
                await connection.close()
    since = time.time()
    finding = Finding(
        f"{ended} sessions were terminated and {len(hoard)} opened in their place"
        if "too many" in refused or "slots" in refused
        else ""
    )
    await _measure_first_success(world, finding, since)
    return finding


async def hold_open(world: World) -> Finding:
    """Somebody forgets a transaction, which keeps everything that ends from being cleaned up."""
    async with await psycopg.AsyncConnection.connect(
        world.cluster.postgres.url, application_name="chaos holds open"
    ) as connection:
        await connection.execute("set transaction isolation level repeatable read")
        await connection.execute("select count(*) from workflow.tasks")
        await asyncio.sleep(6)
        age = await world.value(
            "select extract(epoch from now() - xact_start)::double precision from pg_stat_activity"
            " where application_name = 'chaos holds open' and backend_xmin is not null"
        )
    return Finding(f"a transaction was open for {age:.1f} s")


async def kill_everything(world: World) -> Finding:
    """kill -9 of servers, engines and workers, as when the power fails; all come back."""
    cluster = world.cluster
    pids = [*cluster.processes().values(), *filter(None, [cluster.postgres.pid, cluster.redis.pid])]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        await world.gone(pid)
    await world.find(lambda: _is_back(world), 60)
    finding = Finding(f"{len(pids)} processes were killed")
    await _measure_first_success(world, finding, time.time(), _START_SECONDS)
    return finding


FAULTS = (
    Fault("postgres: immediate stop for 2 s", restart, bound=_START_BOUND),
    Fault("postgres: kill -9", kill, bound=_START_BOUND),
    Fault("postgres: fast restart", fast_restart, bound=_START_BOUND),
    Fault("postgres: away for several leases", long_outage, bound=_START_BOUND),
    Fault("postgres: all sessions terminated", terminate_all, bound=_START_BOUND),
    Fault("postgres: listeners terminated", cut_listeners),
    Fault("postgres: connections reset", cut),
    Fault("postgres: silent", freeze),
    Fault("postgres: slow", slow),
    Fault("postgres: replies lost", lose_replies),
    Fault("postgres: statements refused", refuse_statements),
    Fault("postgres: no connection left", fill_up),
    Fault("postgres: a transaction held open", hold_open),
    Fault("everything: kill -9", kill_everything),
)
