"""Indexes of large tables are built while others work, and built anew where that was broken off."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
from support.eventually import eventually

from workflow_engine.bootstrap import migrate

FAILED = "select indisvalid from pg_index where indexrelid = 'workflow.workflows_failed'::regclass"
BUILDING = "select 1 from pg_stat_progress_create_index where datname = current_database() and phase like 'waiting%'"


def state(connection: psycopg.Connection, query: str) -> Callable[[], object]:
    return lambda: connection.execute(query.encode()).fetchone()


def test_nobody_who_writes_waits_for_an_index_that_is_built(database_url: str) -> None:
    with (
        psycopg.connect(database_url) as open_,
        psycopg.connect(database_url, autocommit=True) as connection,
    ):
        connection.execute("drop index workflow.workflows_failed")
        open_.execute("delete from workflow.workflows")  # a transaction that the build has to wait for
        applied: list[str] = []
        building = threading.Thread(target=lambda: applied.extend(migrate(database_url)))
        building.start()
        eventually(state(connection, BUILDING))
        connection.execute("set statement_timeout = '10s'")
        connection.execute("delete from workflow.workflows")
        open_.commit()
        building.join()
        assert applied == ["index workflows_failed"]
        assert state(connection, FAILED)() == (True,)
        assert migrate(database_url) == []


def test_an_index_that_was_left_half_built_is_built_anew(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "update pg_index set indisvalid = false where indexrelid = 'workflow.workflows_failed'::regclass"
        )
        assert migrate(database_url) == ["index workflows_failed"]
        assert state(connection, FAILED)() == (True,)


def test_those_who_start_together_build_it_once(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("drop index workflow.workflows_failed")
        applied: list[str] = []
        together = [threading.Thread(target=lambda: applied.extend(migrate(database_url))) for _ in range(3)]
        for each in together:
            each.start()
        for each in together:
            each.join()
        assert applied == ["index workflows_failed"]
        assert state(connection, FAILED)() == (True,)
