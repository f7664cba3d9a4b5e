"""A TCP port that leads to a server, and the ways in which such a connection breaks."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

_CHUNK = 65536


@dataclass(slots=True)
class Counts:
    """What has gone over a proxy, and what has not."""

    opened: int = 0
    forwarded: int = 0  # bytes
    cut: int = 0  # connections that were ended by us
    held: int = 0  # chunks that had to wait
    lost: int = 0  # replies that were not passed on


class Proxy:
    """A way to a server of this machine.

    Args:
        port: Where it listens.
        target: Port of the server.

    Attributes:
        delay: Seconds that every chunk is late, either way.
        counts: Since the start.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.delay = 0.0
        self.counts = Counts()
        self.target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._loss = 0.0
        self._random = random.Random(0)

    async def accept(self) -> None:
        """Listen; also again, after `refuse`."""
        if self._server is None:
            self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port, backlog=1024)

    def refuse(self) -> int:
        """Take no connections any more, and end those there are; returns how many."""
        if self._server is not None:
            self._server.close()
            self._server = None
        return self.cut()

    def cut(self) -> int:
        """End all connections with a reset; returns how many there were."""
        writers = list(self._open)
        for writer in writers:
            writer.transport.abort()
        self._open.clear()
        self.counts.cut += len(writers) // 2
        return len(writers) // 2

    def freeze(self) -> None:
        """Pass nothing on and close nothing: to both sides the other one is silent. New connections are taken."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Pass on what was held, and what comes."""
        self._flowing.set()

    def lose_replies(self, share: float, seed: int = 0) -> None:
        """Of what the server answers let so large a share go lost, and the connection with it: it did what it was asked
        to, and nobody knows. 0 ends it.
        """
        self._loss, self._random = share, random.Random(seed)

    def heal(self) -> None:
        """Break nothing, apart from what `refuse` closed."""
        self.delay = 0.0
        self._loss = 0.0
        self.thaw()

    async def close(self) -> None:
        self.refuse()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self.counts.opened += 1
        both = {writer, back}
        self._open |= both
        pumps = [
            asyncio.create_task(self._pump(reader, back, both, replies=False)),
            asyncio.create_task(self._pump(there, writer, both, replies=True)),
        ]
        self._tasks.update(pumps)
        for pump in pumps:
            pump.add_done_callback(self._tasks.discard)
        await asyncio.wait(pumps)
        self._open -= both
        for each in both:
            each.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        both: set[asyncio.StreamWriter],
        *,
        replies: bool,
    ) -> None:
        try:
            while data := await reader.read(_CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if not self._flowing.is_set():
                    self.counts.held += 1
                    await self._flowing.wait()
                if replies and self._loss and self._random.random() < self._loss:
                    self.counts.lost += 1
                    for each in both:
                        each.transport.abort()
                    return
                self.counts.forwarded += len(data)
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:  # one side has reset it: so is the other told
            for each in both:
                each.transport.abort()
