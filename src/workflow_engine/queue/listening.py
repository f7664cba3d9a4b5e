"""Wake-ups: LISTEN on procrastinate's channels. A hint; polling alone is sufficient.

procrastinate's own listener hides who notified. Here it matters: a turn that inserts jobs also claims what it has room
for, so a worker ignores the echo of its own turns. Without that, each step of a chain costs a second, empty turn, and
the completion that arrives meanwhile waits for it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from procrastinate.manager import get_channel_for_queues
from psycopg import sql
from structlog.typing import FilteringBoundLogger

from workflow_engine.patience import PING_SECONDS, answered_within

_PROBE_SECONDS = 30.0


async def listen(
    database_url: str,
    options: dict[str, Any],
    *,
    queues: Sequence[str],
    channels: Sequence[str],
    on_queue: Callable[[int], None],
    on_channel: Callable[[str, str], None],
    log: FilteringBoundLogger,
) -> None:
    """Listen until cancelled, reconnecting with a jittered backoff of at most 5 seconds.

    Args:
        database_url: Where; sessions, since LISTEN does not pass a pooler in transaction mode.
        options: Options of the connection.
        queues: Queues whose new jobs are of interest.
        channels: Further channels.
        on_queue: Called with the backend pid of the notifier when a job was inserted, and with 0 after a reconnect,
            when notifications may have been missed.
        on_channel: Called with channel and payload of the further channels.
        log: Told about lost connections.
    """

    def noticed(notice: psycopg.Notify) -> None:
        if notice.channel in channels:
            on_channel(notice.channel, notice.payload)
        else:
            on_queue(notice.pid)

    names = [*get_channel_for_queues(queues), *channels]
    delay = 0.1
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(database_url, **options) as connection:
                connection.add_notify_handler(noticed)  # for what comes with the answer of a statement
                with answered_within(connection, PING_SECONDS):
                    for name in names:
                        await connection.execute(sql.SQL("listen {}").format(sql.Identifier(name)))
                on_queue(0)
                delay = 0.1
                await _watch(connection, noticed)
        except psycopg.Error as error:
            log.warning("listening interrupted", error=str(error).strip(), retry_in=round(delay, 2))
        await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311
        delay = min(delay * 2, 5.0)


async def _watch(connection: psycopg.AsyncConnection[Any], noticed: Callable[[psycopg.Notify], None]) -> None:
    """Tell of each notification until the connection is lost.

    In place of `connection.notifies()`, which wakes up ten times a second and takes a notification through several
    coroutines.

    Raises:
        psycopg.OperationalError: It is.
    """
    loop = asyncio.get_running_loop()
    lost: asyncio.Future[None] = loop.create_future()

    def read() -> None:
        try:
            connection.pgconn.consume_input()
            while found := connection.pgconn.notifies():
                noticed(psycopg.Notify(found.relname.decode(), found.extra.decode(), found.be_pid))
        except psycopg.Error as error:
            loop.remove_reader(socket)  # it stays readable
            if not lost.done():
                lost.set_exception(error)

    socket = connection.pgconn.socket
    while not lost.done():
        loop.add_reader(socket, read)
        read()  # what came after the answer of the statement before
        try:
            await asyncio.wait([lost], timeout=_PROBE_SECONDS)
        finally:
            loop.remove_reader(socket)
        if not lost.done():
            with answered_within(connection, PING_SECONDS):
                await connection.execute("select 1")  # notices a peer that is gone without a word
    lost.result()
