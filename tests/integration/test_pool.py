"""The connection pool goes on when the schema changes beneath it."""

import asyncio
from dataclasses import dataclass

import psycopg
from prometheus_client import REGISTRY
from support.eventually import eventually_async

from workflow_engine.store.pool import Pool


@dataclass
class _Row:
    a: int
    b: int = 0


async def test_statements_that_all_connections_have_prepared_survive_a_migration(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table changing as select 1 as a")
    pool = Pool(database_url, size=4)
    await pool.open()
    try:
        for _ in range(20):  # psycopg prepares what it has sent five times over a connection
            await asyncio.gather(*(pool.rows(_Row, "select * from changing") for _ in range(4)))
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("alter table changing add column b integer default 2")
        found = await asyncio.gather(*(pool.rows(_Row, "select * from changing") for _ in range(8)))
        assert found == [[_Row(1, 2)]] * 8
    finally:
        await pool.close()


async def test_a_statement_that_waits_for_a_connection_shows_and_so_does_for_how_long(database_url: str) -> None:
    def shown(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"workflow_postgres_pool_{name}", labels) or 0

    async def waits() -> bool:
        return shown("waiting") == before + 1

    pool = Pool(database_url, size=1)
    before = shown("waiting")
    await pool.open()
    try:
        with psycopg.connect(database_url, autocommit=True) as holder:
            holder.execute("select pg_advisory_lock(7)")
            first = asyncio.create_task(pool.value("select pg_advisory_lock(7)"))
            second = asyncio.create_task(pool.value("select 1"))
            await eventually_async(waits)
            assert shown("connections", state="used") >= 1
            assert shown("connections_max") >= 1
            waited = shown("wait_seconds_total")
        await asyncio.gather(first, second)
        assert shown("waiting") == before
        assert shown("wait_seconds_total") > waited
    finally:
        await pool.close()


async def test_the_connection_that_was_used_last_is_used_next(database_url: str) -> None:
    """Its process in Postgres has its plans made; the others may rest."""
    pool = Pool(database_url, size=4)
    await pool.open()
    try:
        together = await asyncio.gather(*(pool.value("select pg_backend_pid() from pg_sleep(0.2)") for _ in range(4)))
        assert len(set(together)) > 1
        assert len({await pool.value("select pg_backend_pid()") for _ in range(10)}) == 1
    finally:
        await pool.close()
