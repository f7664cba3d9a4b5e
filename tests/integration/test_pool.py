"""The connection pool goes on when the schema changes beneath it."""

import asyncio
from dataclasses import dataclass

import psycopg

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
