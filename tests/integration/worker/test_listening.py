"""Listening for wake-ups on real Postgres."""

import asyncio

import psycopg
from support.eventually import eventually_async
from support.logging import configured_logging

from workflow_engine.observability.logs import get_logger
from workflow_engine.queue.listening import listen
from workflow_engine.settings import Settings
from workflow_engine.store.pool import connection_options

NAME = "test listener"
QUEUE = "procrastinate_queue_v1#default"


async def test_notifications_are_told_in_their_order_and_also_after_the_connection_was_cut(settings: Settings) -> None:
    told: list[tuple[str, str] | int] = []

    async def has_told(*expected: tuple[str, str] | int) -> None:
        async def all_are() -> bool:
            return told == list(expected)

        await eventually_async(all_are)
        told.clear()

    with configured_logging("worker"), psycopg.connect(settings.database_url, autocommit=True) as notifier:
        listening = asyncio.create_task(
            listen(
                settings.database_url,
                connection_options(NAME),
                queues=["default"],
                channels=["news", "more"],
                on_queue=told.append,
                on_channel=lambda channel, payload: told.append((channel, payload)),
                log=get_logger("test"),
            )
        )
        for _ in range(2):
            await has_told(0)
            with notifier.transaction():
                for channel, payload in (("news", "one"), ("more", ""), (QUEUE, ""), ("other", "x"), ("news", "ü")):
                    notifier.execute("select pg_notify(%s, %s)", [channel, payload])
            await has_told(("news", "one"), ("more", ""), notifier.info.backend_pid, ("news", "ü"))
            cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = %s"
            assert notifier.execute(cut, [NAME]).fetchone() == (1,)
        await has_told(0)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
