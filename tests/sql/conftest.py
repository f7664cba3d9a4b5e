"""Connections of the SQL tests; after every test the database must be sound."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from support import eventually
from support.invariants import assert_sound

from .engine import OTHER_TABLES, WORK_TABLES, Engine


@pytest.fixture(scope="session")
def shared_database(server_url: str, template_database: str) -> Iterator[str]:
    """URL of a migrated database for all tests that do not ask for a fresh one: making one takes longer than a test."""
    name = f"workflow_sql_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}".encode())
        try:
            yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def database(shared_database: str) -> Iterator[str]:
    """URL of a migrated database without workflows."""
    yield shared_database
    with psycopg.connect(shared_database, autocommit=True) as connection:
        connection.execute("; ".join(f"delete from {table}" for table in (*WORK_TABLES, *OTHER_TABLES)).encode())
        connection.execute("update workflow.engine set paused_at = null, paused_until = null, paused_by = null")
        connection.execute("update workflow.task_types set timeout = null where timeout > 0")


@pytest.fixture
def connect(database: str) -> Iterator[Callable[[], Engine]]:
    """Opens one more connection, which is one more worker."""
    with ExitStack() as opened:

        def connect() -> Engine:
            engine = Engine(database)
            opened.callback(engine.close)
            return engine

        yield connect


@pytest.fixture
def engine(connect: Callable[[], Engine]) -> Iterator[Engine]:
    engine = connect()
    yield engine
    engine.set_clock("0")
    assert_sound(engine)


@pytest.fixture
def other(connect: Callable[[], Engine]) -> Engine:
    """A second connection and worker."""
    return connect()


@pytest.fixture
def blocked(connect: Callable[[], Engine]) -> Iterator[Callable[..., "Future[Any]"]]:
    """`blocked(engine, call)` runs the call in a thread and returns once Postgres makes it wait for a lock."""
    watcher: list[Engine] = []
    with ThreadPoolExecutor(max_workers=8) as threads:

        def run(engine: Engine, call: Callable[[], Any]) -> "Future[Any]":
            if not watcher:
                watcher.append(connect())
            future = threads.submit(call)
            eventually(
                lambda: future.done() or watcher[0].value("select cardinality(pg_blocking_pids(%s)) > 0", engine.pid)
            )
            assert not future.done(), f"it did not wait: {future.result()}"
            return future

        yield run
