"""What a load makes the server do: transactions that write, statements, rows.

Workers are halted while the load is started, so that nothing of that is counted. Sessions report rows late; those of
workers do so when they look for work again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict

from benchmarks.server import Server, workers
from benchmarks.workload import LOOK, Load, Meter, await_end, run_loads
from workflow_engine.records import WorkflowStart
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store

_REPORT_SECONDS = 12.0  # idle sessions report ten seconds late at most
_ROWS = (
    "select jsonb_build_array(sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_hot_upd), sum(n_tup_del),"
    " sum(n_tup_ins) filter (where starts_with(relname, 'attempt_history'))) from pg_stat_user_tables"
)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Of a whole load."""

    commits: int  # transactions that wrote
    statements: int | None  # that clients sent; None when the server cannot tell
    inserted: int
    updated: int
    hot: int  # of the updated rows, those that touched no index
    deleted: int


def measure_traffic(server: Server, loads: Sequence[Load], concurrency: int) -> list[Traffic]:
    """Each load once, by two workers, in a database of its own."""
    with server.engine_database() as url:
        name = conninfo_to_dict(url)["dbname"]
        if server.counts_statements:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"alter database {name} set compute_query_id = on".encode())
                connection.execute(f"alter database {name} set pg_stat_statements.track = 'top'".encode())
        with workers(url, concurrency=concurrency) as pids:
            return asyncio.run(_measure(server, url, loads, pids))


async def _measure(server: Server, url: str, loads: Sequence[Load], pids: list[int]) -> list[Traffic]:
    pool = Pool(url, size=1)  # one session, so that what it did can be reported at once
    await pool.open()
    try:
        counters = _Counters(server, Store(pool), str(conninfo_to_dict(url)["dbname"]))
        for load in loads:
            await counters.store.definitions.register(load.definition)
            await run_loads(counters.store, [load.part(0.1)])
        return [await _one(counters, load, pids) for load in loads]
    finally:
        await pool.close()


async def _one(counters: _Counters, load: Load, pids: list[int]) -> Traffic:
    ended = int(await counters.store.pool.value("select count(*) from workflow.attempt_history"))
    await counters.rows(attempts=ended)  # what came before is reported
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        starts = [WorkflowStart(load.definition.name)] * load.workflows
        started, _ = await counters.store.workflows.start(starts)
        rows = await counters.rows()
        transactions = await counters.transactions()
        counters.forget_statements()
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    await await_end(counters.store, [load], [workflow.id for workflow in started], Meter())
    commits = await counters.transactions() - transactions
    statements = counters.statements()
    after = await counters.rows(attempts=rows[4] + load.steps)
    inserted, updated, hot, deleted, _ = (b - a for a, b in zip(rows, after, strict=True))
    return Traffic(commits, statements, inserted, updated, hot, deleted)


@dataclass(frozen=True, slots=True)
class _Counters:
    """What the server counts of one database."""

    server: Server
    store: Store
    database: str

    async def rows(self, *, attempts: int = 0) -> list[int]:
        """Inserted, updated, updated without an index, deleted, and inserted attempts, when these are so many."""
        deadline = time.monotonic() + _REPORT_SECONDS
        while True:
            await self.store.pool.value("select pg_stat_force_next_flush()::text")
            counts = [int(count) for count in await self.store.pool.value(_ROWS)]
            if counts[4] >= attempts or time.monotonic() > deadline:
                return counts
            await asyncio.sleep(0.5)

    async def transactions(self) -> int:
        """Numbers of transactions given out so far: one to each that writes."""
        return int(await self.store.pool.value(f"select pg_snapshot_xmax(pg_current_snapshot())::text as {LOOK}"))

    def forget_statements(self) -> None:
        if self.server.counts_statements:
            with psycopg.connect(self.server.url, autocommit=True) as connection:
                connection.execute("select pg_stat_statements_reset()")

    def statements(self) -> int | None:
        """Those that others have sent since."""
        if not self.server.counts_statements:
            return None
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            row = connection.execute(
                "select coalesce(sum(calls), 0)::bigint from pg_stat_statements where dbid ="
                " (select oid from pg_database where datname = %s) and query not like %s",
                [self.database, f"%{LOOK}%"],
            ).fetchone()
        assert row is not None
        return int(row[0])
