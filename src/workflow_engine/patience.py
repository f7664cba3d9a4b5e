"""How long anybody waits for an answer of Postgres.

Postgres ends a statement after `statement_timeout`. It cannot say so over a connection whose other end is gone without
a word: behind a proxy or a pooler that hangs, on a host that stands still, after a failover that left the old one
running. TCP does not notice as long as somebody acknowledges. So whoever sends a statement also counts, and hangs up
when nothing came: the connection then breaks as every lost one does, and what handles that is in use every day.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

STATEMENT_SECONDS = 30
"""Of a statement on the server, unless it says otherwise."""
ANSWER_SECONDS = STATEMENT_SECONDS + 5.0
"""After so long there is nobody at the other end."""
PING_SECONDS = 10.0
"""The same where a statement takes no time."""


@contextmanager
def answered_within(connection: psycopg.AsyncConnection[Any], seconds: float = ANSWER_SECONDS) -> Iterator[None]:
    """Hang up if what is inside takes longer; it then raises `psycopg.OperationalError`, as on a lost connection.

    Not a cancellation: that would ask the same silent server to stop, on another connection.
    """
    timer = asyncio.get_running_loop().call_later(seconds, hang_up, connection)
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def answered_within_in_thread(connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """The same for a connection that blocks its thread."""
    timer = threading.Timer(seconds, hang_up, [connection])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def hang_up(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Break a connection from any thread; whoever waits for an answer on it wakes up with an error."""
    with (
        suppress(OSError, psycopg.Error),  # it is closed already
        socket.socket(fileno=os.dup(connection.pgconn.socket)) as end,
    ):
        end.shutdown(socket.SHUT_RDWR)
