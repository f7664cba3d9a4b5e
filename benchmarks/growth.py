"""A turn over what piles up: waiting tasks, scheduled tasks, finished workflows. It should not notice them.

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
from benchmarks.seed import seed_finished, seed_pending, seed_scheduled
from benchmarks.server import Server
from workflow_engine.definition.plan import CompiledDefinition
from workflow_engine.observability.logs import get_logger
from workflow_engine.queue.registry import WorkerRegistry
from workflow_engine.records import Claim, Completion, WorkflowStart
from workflow_engine.store.pool import Pool, connection_options
from workflow_engine.store.store import Store
from workflow_engine.worker.turns import Turns

_GOAL = 1.5  # times the duration on an empty database
_CLAIMS = 50
_WARM_UP = 8  # Postgres settles on its plans after five executions in a session
_TABLES = ("workflow.jobs", "workflow.workflows", "workflow.tasks", "workflow.attempt_history", "workflow.events")
_QUEUES, _TYPES = ["default"], ["noop"]


@dataclass(frozen=True, slots=True)
class State:
    """What a database holds when its turns are measured."""

    label: str
    fill: Callable[[psycopg.Connection, str], None]
    analysed: bool = True


def _states(profile: Profile) -> list[State]:
    backlog, finished = profile.backlog, profile.finished
    return [
        State("empty", lambda connection, name: None),
        State(f"{backlog:,} pending", lambda c, name: seed_pending(c, name, backlog)),
        State(f"{backlog:,} pending, not analysed", lambda c, name: seed_pending(c, name, backlog), analysed=False),
        State(f"{backlog:,} scheduled", lambda c, name: seed_scheduled(c, name, backlog)),
        State(f"{finished:,} finished", lambda c, name: seed_finished(c, name, finished)),
    ]


def measure(server: Server, profile: Profile) -> list[Table]:
    with ExitStack() as stack:
        urls = {}
        for state in _states(profile):
            urls[state.label] = url = stack.enter_context(server.engine_database())
            register(url, definitions.single())
            with psycopg.connect(url, autocommit=True) as connection:
                if not state.analysed:
                    for table in _tables(connection):
                        connection.execute(f"alter table {table} set (autovacuum_enabled = off)".encode())
                    connection.execute("vacuum (analyze)")  # of the empty tables
                state.fill(connection, definitions.single().name)
                if state.analysed:
                    connection.execute("vacuum (analyze)")
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("checkpoint")  # what seeding left to write is not the turns' affair
        figures = asyncio.run(_measure_turns(urls, profile.turns))
    return [_table(title, list(by_state.values())) for title, by_state in figures.items()]


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
