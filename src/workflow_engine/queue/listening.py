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
        database_url: Where; a direct connection, since LISTEN does not pass a transaction pooler.
        options: Options of the connection.
        queues: Queues whose new jobs are of interest.
        channels: Further channels.
        on_queue: Called with the backend pid of the notifier when a job was inserted, and with 0 after a reconnect,
            when notifications may have been missed.
        on_channel: Called with channel and payload of the further channels.
        log: Told about lost connections.
    """
    names = [*get_channel_for_queues(queues), *channels]
    delay = 0.1
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(database_url, **options) as connection:
                for name in names:
                    await connection.execute(sql.SQL("listen {}").format(sql.Identifier(name)))
                on_queue(0)
                delay = 0.1
                while True:
                    async for notice in connection.notifies(timeout=30):
                        if notice.channel in channels:
                            on_channel(notice.channel, notice.payload)
                        else:
                            on_queue(notice.pid)
                    await connection.execute("select 1")  # notices a peer that is gone without a word
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            log.warning("listening interrupted", error=str(error).strip(), retry_in=round(delay, 2))
        await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311
        delay = min(delay * 2, 5.0)
