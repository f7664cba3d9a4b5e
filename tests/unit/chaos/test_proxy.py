"""A proxy passes everything on, and breaks in each of the ways it is asked to."""

import asyncio
import contextlib
import time

import pytest

from chaos.proxy import Proxy
from workflow_engine.embedded.places import free_port


@contextlib.asynccontextmanager
async def echoing():
    """A proxy before a server that answers with what it is told."""

    async def echo(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(1000):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = Proxy(free_port(), server.sockets[0].getsockname()[1])
    await proxy.accept()
    try:
        yield proxy
    finally:
        await proxy.close()
        server.close()


async def ask(proxy, connection=None):
    reader, writer = connection or await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello")
    await writer.drain()
    answer = await reader.read(1000)
    if connection is None:
        writer.close()
    return answer


async def test_it_passes_on_what_is_said_and_answered():
    async with echoing() as proxy:
        assert await ask(proxy) == b"hello"
        assert proxy.counts.forwarded == 10


async def test_a_refusing_one_ends_its_connections_and_takes_none_until_it_accepts_again():
    async with echoing() as proxy:
        connection = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await ask(proxy, connection) == b"hello"
        assert proxy.refuse() == 1
        with contextlib.suppress(ConnectionError):
            assert await ask(proxy, connection) == b""
        with pytest.raises(ConnectionError):
            await ask(proxy)
        await proxy.accept()
        assert await ask(proxy) == b"hello"


async def test_a_frozen_one_takes_connections_and_passes_on_later_what_was_said_meanwhile():
    async with echoing() as proxy:
        proxy.freeze()
        asked = asyncio.create_task(ask(proxy))
        done, _ = await asyncio.wait([asked], timeout=0.1)
        assert not done
        assert proxy.counts.held == 1
        proxy.thaw()
        assert await asked == b"hello"


async def test_a_slow_one_is_late_both_ways():
    async with echoing() as proxy:
        proxy.delay = 0.05
        begun = time.monotonic()
        assert await ask(proxy) == b"hello"
        assert time.monotonic() - begun >= 0.1


async def test_a_reply_that_is_lost_was_a_request_that_arrived():
    async with echoing() as proxy:
        proxy.lose_replies(1.0)
        with contextlib.suppress(ConnectionError):
            assert await ask(proxy) == b""
        assert (proxy.counts.lost, proxy.counts.forwarded) == (1, 5)
        proxy.lose_replies(0)
        assert await ask(proxy) == b"hello"
