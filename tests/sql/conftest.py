"""Connections of the SQL tests; after every test the database must be sound."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from support import eventually
from support.databases import new_database
from support.invariants import assert_sound

from .connections import Connection, Janitor, is_as_new, open_connection
from .engine import Engine
from .stepping import install


@pytest.fixture(scope="session")
def shared_database(server_url: str, template_database: str) -> Iterator[str]:
    """URL of a migrated database for all tests that do not ask for a fresh one: making one takes longer than a test."""
    with new_database(server_url, "sql", template=template_database) as url:
        yield url


@pytest.fixture(scope="session")
def stepped_database(server_url: str, template_database: str) -> Iterator[str]:
    """URL of a migrated database whose functions can be stopped between their statements."""
    with new_database(server_url, "stepped", template=template_database) as url:
        with open_connection(url) as connection:
            install(connection)
        yield url


@pytest.fixture(scope="session")
def janitor(shared_database: str) -> Iterator[Janitor]:
    with Janitor(shared_database) as janitor:
        yield janitor


@pytest.fixture(scope="session")
def idle_connections() -> Iterator[list[Connection]]:
    """Connections to the shared database that no test has now: most of what a test took was planning in a new one."""
    connections: list[Connection] = []
    yield connections
    for connection in connections:
        connection.close()


@pytest.fixture
def database(shared_database: str, janitor: Janitor) -> Iterator[str]:
    """URL of a migrated database without workflows."""
    yield shared_database
    janitor.empty()


@pytest.fixture
def connect(database: str, shared_database: str, idle_connections: list[Connection]) -> Iterator[Callable[[], Engine]]:
    """Gives one more connection, which is one more worker."""
    idle = idle_connections if database == shared_database else []
    taken: list[Connection] = []

    def connect() -> Engine:
        taken.append(idle.pop() if idle else open_connection(database))
        return Engine(taken[-1])

    yield connect
    for connection in reversed(taken):  # the first one, which does most, is the first one again
        if database == shared_database and is_as_new(connection):
            idle.append(connection)
        else:
            connection.close()


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
