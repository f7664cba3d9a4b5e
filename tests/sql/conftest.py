"""Connections of the SQL tests; after every test the database must be sound."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from engine import Engine
from support import eventually
from support.invariants import assert_sound


@pytest.fixture
def connect(database_url: str) -> Iterator[Callable[[], Engine]]:
    """Opens one more connection, which is one more worker."""
    with ExitStack() as opened:

        def connect() -> Engine:
            engine = Engine(database_url)
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
