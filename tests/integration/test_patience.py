"""Nobody waits for ever on a Postgres whose connection is open and silent."""

import psycopg
import pytest
from support.eventually import eventually_async
from support.silence import SilencedPostgres

from workflow_engine.errors import StoreUnavailable
from workflow_engine.patience import answered_within, answered_within_in_thread
from workflow_engine.store.pool import Pool


async def test_a_statement_that_is_not_answered_breaks_its_connection(database_url: str) -> None:
    with SilencedPostgres(database_url) as postgres:
        connection = await psycopg.AsyncConnection.connect(postgres.url, autocommit=True)
        with answered_within(connection, 30):
            await connection.execute("select 1")
        with postgres.silent(), pytest.raises(psycopg.OperationalError), answered_within(connection, 0.1):
            await connection.execute("select 1")
        assert connection.closed


def test_so_does_one_that_blocks_its_thread(database_url: str) -> None:
    with SilencedPostgres(database_url) as postgres:
        connection = psycopg.connect(postgres.url, autocommit=True)
        with answered_within_in_thread(connection, 30):
            connection.execute("select 1")
        with postgres.silent(), pytest.raises(psycopg.OperationalError), answered_within_in_thread(connection, 0.1):
            connection.execute("select 1")
        assert connection.closed


async def test_a_pool_takes_connections_that_are_not_answered_for_lost_and_makes_others(database_url: str) -> None:
    with SilencedPostgres(database_url) as postgres:
        pool = Pool(postgres.url, size=2, timeout=1, answer_seconds=0.2)
        await pool.open()
        try:
            assert await pool.value("select 1") == 1
            with postgres.silent(), pytest.raises(StoreUnavailable):
                await pool.value("select 1")

            async def answers() -> bool:
                try:
                    return bool(await pool.value("select 1") == 1)
                except StoreUnavailable:
                    return False

            await eventually_async(answers)
        finally:
            await pool.close()
