"""Answers that go on: how many there may be, that they stay open and end with their server. Server-sent events.

A key that is revoked or ends while somebody reads is noticed with the next heartbeat, and the answer ends.

Who reads events is expected to come back when they break off, to whichever engine, with the last id that it has seen.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from workflow_engine.api.answers import dump
from workflow_engine.api.services import services
from workflow_engine.background import end_tasks
from workflow_engine.errors import Overloaded
from workflow_engine.observability import metrics

MEDIA_TYPE = "text/event-stream"
ON_SHUTDOWN = "on_shutdown"
"""Under this name the state of a request has what `protocol` calls when the server is to stop."""
IS_STREAM = "is_stream"
"""Under this name the scope of a request says that its answer goes on for as long as somebody reads it."""

_HEARTBEAT_SECONDS = 15.0
_BUSY_SECONDS = 5
_AGAIN_MILLISECONDS = 1000  # when to come back after the stream broke
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would hold back what is small


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream. Without a name browsers take it for a `message`, which is what most wait for."""

    data: Any
    id: int | None = None
    name: str | None = None

    def encoded(self) -> bytes:
        place = b"" if self.id is None else b"id: %d\n" % self.id
        name = b"" if self.name is None else b"event: %b\n" % self.name.encode()
        return b"%b%bdata: %b\n" % (place, name, dump(self.data).rstrip(b"\n"))


def event_stream(request: Request, events: AsyncGenerator[list[Event], None]) -> StreamingResponse:
    """Server-sent events, until there are no more, nobody reads them any more, or the server stops.

    Args:
        events: Some at a time, what there is; they are closed in the end.

    Raises:
        Overloaded: As of `open_stream`.
    """
    return open_stream(request, _encoded(events), MEDIA_TYPE, heartbeat=b":\n\n")


def open_stream(
    request: Request, chunks: AsyncGenerator[bytes, None], media_type: str, *, heartbeat: bytes, farewell: bytes = b""
) -> StreamingResponse:
    """An answer that goes on until `chunks` end, nobody reads them any more, or the server stops.

    Args:
        chunks: What is sent, as it comes; they are closed in the end.
        heartbeat: Sent when there was nothing to send for a while: something without a meaning.
        farewell: Sent when the server stops.

    Raises:
        Overloaded: As many are open as may be: half of all requests, so that who only looks keeps nobody from working.
    """
    open_ = services(request).streams
    most = max(services(request).settings.max_requests // 2, 1)
    if len(open_) >= most:
        raise Overloaded(f"This engine has {most:,} streams open, and no more may be.", retry_after=_BUSY_SECONDS)
    stopping = asyncio.Event()
    request.scope.setdefault("state", {})[ON_SHUTDOWN] = stopping.set
    request.scope[IS_STREAM] = True
    authentication = services(request).authentication

    async def is_known() -> bool:
        return await authentication.still_knows(request)

    return _Stream(_kept_open(chunks, stopping, is_known, heartbeat, farewell), media_type, open_)


async def _encoded(events: AsyncGenerator[list[Event], None]) -> AsyncGenerator[bytes, None]:
    yield b"retry: %d\n\n" % _AGAIN_MILLISECONDS
    async with aclosing(events):
        async for some in events:
            yield b"".join(b"%b\n" % event.encoded() for event in some)


class _Stream(StreamingResponse):
    """An answer that counts as open for as long as it is given."""

    def __init__(self, written: AsyncGenerator[bytes, None], media_type: str, open_: set[object]) -> None:
        super().__init__(written, headers={**_HEADERS, "Content-Type": f"{media_type}; charset=utf-8"})
        self._written = written
        self._open = open_

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._open.add(self)
        metrics.open_streams.inc()
        try:
            await super().__call__(scope, receive, send)
        finally:
            metrics.open_streams.dec()
            self._open.discard(self)
            await self._written.aclose()


async def _kept_open(
    chunks: AsyncGenerator[bytes, None],
    stopping: asyncio.Event,
    is_known: Callable[[], Awaitable[bool]],
    heartbeat: bytes,
    farewell: bytes,
) -> AsyncGenerator[bytes, None]:
    stopped = asyncio.create_task(stopping.wait())
    next_ = None
    asked = time.monotonic()
    try:
        while True:
            next_ = next_ or asyncio.create_task(_next(chunks))
            await asyncio.wait((next_, stopped), timeout=_HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                if farewell:
                    yield farewell
                return
            if time.monotonic() - asked >= _HEARTBEAT_SECONDS:
                if not await is_known():
                    return
                asked = time.monotonic()
            if not next_.done():
                yield heartbeat
                continue
            chunk, next_ = next_.result(), None
            if chunk is None:
                return
            if chunk:
                yield chunk
    finally:
        await end_tasks(stopped, *([next_] if next_ else []))
        await chunks.aclose()


async def _next(chunks: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(chunks, None)
