"""What the machine needs at least for what latency is made of: answers over HTTP, durable commits, words to processes.

Milliseconds tell as much of a machine and its hour as of an engine: how long a commit takes, and how soon a process
that sleeps is woken. In turn with the engine and in the same rhythm, this goes the same way without an engine.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import psycopg

from benchmarks import commits
from workflow_engine.errors import StackUnavailable

_INSERT_AND_SAY = "with inserted as (insert into bench_commits (value) values (1)) select pg_notify(%s, '')"
_STARTED, _ENDED = "bench_started", "bench_ended"
_PATIENCE_SECONDS = 60.0


def insert_once(connection: psycopg.Connection) -> float:
    """Milliseconds of one durable commit."""
    begin = time.perf_counter()
    connection.execute(commits.INSERT)
    return (time.perf_counter() - begin) * 1000


@contextmanager
def way_of_a_step(database_url: str, port: int) -> Iterator[Callable[[], float]]:
    """Goes the way of `?wait` of one step, and gives its milliseconds: an answer of the engine that asks nobody, a
    commit that wakes another process (the start), one of that process (the claim), and one that wakes us (the end).

    Args:
        database_url: A database that `commits.prepare` has seen.
        port: Of an engine on this machine.
    """
    answerer = multiprocessing.get_context("spawn").Process(target=_answer, args=(database_url,), daemon=True)
    http = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=0) as connection:
        connection.execute(f"listen {_ENDED}")
        answerer.start()
        try:
            _hear(connection)  # that it listens

            def go() -> float:
                begin = time.perf_counter()
                http.request("GET", "/livez")
                http.getresponse().read()
                connection.execute(_INSERT_AND_SAY, [_STARTED])
                _hear(connection)
                return (time.perf_counter() - begin) * 1000

            yield go
        finally:
            http.close()
            answerer.terminate()
            answerer.join()


def _answer(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=0) as connection:
        connection.execute(f"listen {_STARTED}")
        connection.execute(_INSERT_AND_SAY, [_ENDED])
        while True:
            _hear(connection, None)
            connection.execute(commits.INSERT)
            connection.execute(_INSERT_AND_SAY, [_ENDED])


def _hear(connection: psycopg.Connection, patience: float | None = _PATIENCE_SECONDS) -> None:
    for _ in connection.notifies(timeout=patience, stop_after=1):
        return
    raise StackUnavailable(f"Nobody answered within {patience:g} s")
