"""Turns and throughput over what piles up: waiting tasks, scheduled tasks, finished workflows. They should not notice.

Each state is a database of its own, filled by set-based inserts, then vacuumed and analysed as autovacuum would. One is
not, as in the minute before autovacuum comes: its plans are made for empty tables. The databases take turns, repetition
by repetition, so that a slow phase of the machine touches all alike.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass

import psycopg

from benchmarks import definitions
from benchmarks.profiles import Profile
from benchmarks.report import Figure, Row, Table
from benchmarks.seed import HISTORY_ROWS, seed_finished, seed_pending, seed_scheduled
from benchmarks.server import Server, workers
from benchmarks.workload import Load, run_loads
from workflow_engine.definition.plan import CompiledDefinition
from workflow_engine.observability.logs import get_logger
from workflow_engine.queue.registry import WorkerRegistry
from workflow_engine.records import Claim, Completion, WorkflowStart
from workflow_engine.store.pool import Pool, connection_options
from workflow_engine.store.store import Store
from workflow_engine.worker.turns import Turns

_GOAL = 1.5  # times the duration of a turn on an empty database
_THROUGHPUT_GOAL = 0.85  # times the throughput there
_SLOTS = 100
_CLAIMS = 50
_WARM_UP = 8  # Postgres settles on its plans after five executions in a session
_TABLES = ("workflow.jobs", "workflow.workflows", "workflow.tasks", "workflow.attempt_history", "workflow.events")
_QUEUES, _TYPES = ["default"], ["noop"]


@dataclass(frozen=True, slots=True)
class State:
    """What a database holds when it is measured.

    `turns` and `load` say by which of the two: only workers' loads show what lies in the way of a claim.
    """

    label: str
    fill: Callable[[psycopg.Connection], None]
    analysed: bool = True
    turns: bool = True
    load: bool = True


def _states(profile: Profile) -> list[State]:
    backlog, finished, history = profile.backlog, profile.finished, profile.history
    single, elsewhere, unserved = (d().name for d in (definitions.single, definitions.elsewhere, definitions.unserved))
    states = [
        State("empty", lambda c: None),
        State(f"{backlog:,} pending", lambda c: seed_pending(c, single, backlog), load=False),
        State(
            f"{backlog:,} pending, not analysed",
            lambda c: seed_pending(c, single, backlog),
            analysed=False,
            load=False,
        ),
        State(f"{backlog:,} pending in another queue", lambda c: seed_pending(c, elsewhere, backlog), turns=False),
        State(
            f"{backlog:,} pending, of a type nobody serves",
            lambda c: seed_pending(c, unserved, backlog),
            turns=False,
        ),
        State(f"{backlog:,} scheduled", lambda c: seed_scheduled(c, single, backlog)),
        State(f"{finished:,} finished", lambda c: seed_finished(c, single, finished)),
    ]
    if history:
        states.append(
            State(
                f"{history:,} finished, {history * HISTORY_ROWS:,} rows of history",
                lambda c: seed_finished(c, single, history),
            )
        )
    return states


def measure(server: Server, profile: Profile) -> list[Table]:
    states = _states(profile)
    with ExitStack() as stack:
        urls = {}
        for state in states:
            urls[state.label] = url = stack.enter_context(server.engine_database())
            register(url, definitions.single(), definitions.elsewhere(), definitions.unserved())
            with psycopg.connect(url, autocommit=True) as connection:
                if not state.analysed:
                    for table in _tables(connection):
                        connection.execute(f"alter table {table} set (autovacuum_enabled = off)".encode())
                    connection.execute("vacuum (analyze)")  # of the empty tables
                state.fill(connection)
                if state.analysed:
                    connection.execute("vacuum (analyze)")
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("checkpoint")  # what seeding left to write is not the turns' affair
        by_turns = {state.label: urls[state.label] for state in states if state.turns}
        figures = asyncio.run(_measure_turns(by_turns, profile.turns))
        by_load = {state.label: urls[state.label] for state in states if state.load}
        loaded = _measure_loads(by_load, profile)
    tables = [_table(title, list(by_state.values())) for title, by_state in figures.items()]
    return [*tables, _load_table(loaded, profile)]


def _tables(connection: psycopg.Connection) -> list[str]:
    """Those in `_TABLES`, with partitions instead of partitioned ones."""
    rows = connection.execute(
        "select coalesce(p.relid, t)::regclass::text from unnest(%s::regclass[]) t"
        " left join lateral pg_partition_tree(t) p on true where p.relid is null or p.isleaf",
        [list(_TABLES)],
    )
    return [str(name) for (name,) in rows.fetchall()]


def _table(title: str, figures: list[Figure]) -> Table:
    empty, *others = figures
    rows = [Row(empty)]
    for figure in others:
        ratio = figure.ratio_to(empty)
        rows.append(Row(figure, (("x empty", ratio),), goal=f"<= {_GOAL:g} x empty", met=ratio <= _GOAL))
    return Table(title, rows)


def _sizes(profile: Profile) -> tuple[int, int]:
    """Singles, and chains of 10, of one load."""
    return 1000 * profile.load_factor, 100 * profile.load_factor


def _load_table(figures: list[Figure], profile: Profile) -> Table:
    empty, *others = figures
    rows = [Row(empty)]
    for figure in others:
        ratio = figure.ratio_to(empty)
        met = ratio >= _THROUGHPUT_GOAL
        rows.append(Row(figure, (("x empty", ratio),), goal=f">= {_THROUGHPUT_GOAL:g} x empty", met=met))
    singles, chains = _sizes(profile)
    return Table(f"Throughput of {singles:,} singles and {chains} chains of 10, two workers with {_SLOTS} slots", rows)


def _measure_loads(urls: Mapping[str, str], profile: Profile) -> list[Figure]:
    """Two workers for each database; the databases take turns."""
    with ExitStack() as stack:
        for url in urls.values():
            stack.enter_context(workers(url, concurrency=_SLOTS))
        return asyncio.run(_run_loads(urls, profile))


async def _run_loads(urls: Mapping[str, str], profile: Profile) -> list[Figure]:
    singles, chains = _sizes(profile)
    loads = [Load.of("", definitions.single(), singles), Load.of("", definitions.chain(10), chains)]
    steps = sum(load.steps for load in loads)
    figures = [Figure(label, "steps/s") for label in urls]
    async with AsyncExitStack() as stack:
        stores = []
        for url in urls.values():
            pool = Pool(url, size=1)
            await pool.open()
            stack.push_async_callback(pool.close)
            stores.append(Store(pool))
            for load in loads:
                await stores[-1].definitions.register(load.definition)
        for repetition in range(1 + profile.growth_rounds):  # the first warms up
            for store, figure in zip(stores, figures, strict=True):
                cost = await run_loads(store, loads)
                if repetition:
                    figure.values.append(steps / cost.seconds)
    return figures


def register(database_url: str, *compiled: CompiledDefinition) -> None:
    """Register definitions in a database."""

    async def run() -> None:
        pool = Pool(database_url, size=1)
        await pool.open()
        try:
            for definition in compiled:
                await Store(pool).definitions.register(definition)
        finally:
            await pool.close()

    asyncio.run(run())


class _Worker:
    """What a worker sends, without its loop: turns over the connection that workers use."""

    def __init__(self, store: Store, turns: Turns, worker_id: int) -> None:
        self._store = store
        self._turns = turns
        self._worker_id = worker_id

    async def submit(self, count: int) -> None:
        await self._store.workflows.start([WorkflowStart(definitions.single().name)] * count)

    async def turn(self, ended: list[Claim], want: int) -> tuple[list[Claim], float]:
        """One turn that completes `ended` and claims `want`; returns the claims and its milliseconds."""
        completions = [Completion(c.task_id, c.attempt, c.lease_token, "succeeded", output=b"null") for c in ended]
        begin = time.perf_counter()
        turn = await self._turns.take(self._worker_id, completions, queues=_QUEUES, types=_TYPES, want=want)
        duration = (time.perf_counter() - begin) * 1000
        assert (turn.stale, len(turn.claims)) == ([], want)
        return turn.claims, duration


async def _open_worker(database_url: str, stack: AsyncExitStack) -> _Worker:
    pool = Pool(database_url, size=1)
    await pool.open()
    stack.push_async_callback(pool.close)
    store = Store(pool)
    async with WorkerRegistry(database_url, connection_options("bench registry")) as registry:
        queue_worker_id = await registry.register()
    worker_id = await store.workers.register(
        name="bench",
        host=socket.gethostname(),
        pid=os.getpid(),
        version="bench",
        queues=_QUEUES,
        types=[{"name": name} for name in _TYPES],
        concurrency=_CLAIMS,
        heartbeat_seconds=10.0,
        queue_worker_id=queue_worker_id,
    )
    turns = Turns(database_url, lease_seconds=30.0, held=set, log=get_logger("bench"))
    stack.push_async_callback(turns.close)
    return _Worker(store, turns, worker_id)


async def _measure_turns(urls: Mapping[str, str], repetitions: int) -> dict[str, dict[str, Figure]]:
    claiming = {state: Figure(state, "ms") for state in urls}
    full = {state: Figure(state, "ms") for state in urls}
    async with AsyncExitStack() as stack:
        opened = {state: await _open_worker(url, stack) for state, url in urls.items()}
        for repetition in range(_WARM_UP + repetitions):
            for state, worker in opened.items():
                await worker.submit(2 * _CLAIMS)
                first, claim_ms = await worker.turn([], _CLAIMS)
                second, full_ms = await worker.turn(first, _CLAIMS)
                await worker.turn(second, 0)
                if repetition >= _WARM_UP:
                    claiming[state].values.append(claim_ms)
                    full[state].values.append(full_ms)
    return {
        f"A turn that claims {_CLAIMS}": claiming,
        f"A turn that completes {_CLAIMS} and claims {_CLAIMS}": full,
    }
