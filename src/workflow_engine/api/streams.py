"""Server-sent events: how a stream is written, that it stays open, and that it ends with its server.

Who reads one is expected to come back when it breaks, to whichever engine, with the last id that it has seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from workflow_engine.api.answers import dump
from workflow_engine.api.services import services
from workflow_engine.background import end_tasks
from workflow_engine.errors import Overloaded

MEDIA_TYPE = "text/event-stream"
ON_SHUTDOWN = "on_shutdown"
"""Under this name the state of a request has what `protocol` calls when the server is to stop."""

_HEARTBEAT_SECONDS = 15.0
_BUSY_SECONDS = 5
_AGAIN_MILLISECONDS = 1000  # when to come back after the stream broke
_HEARTBEAT = b":\n\n"
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
    """An answer that goes on until `events` end, nobody reads them any more, or the server stops.

    Args:
        events: Some at a time, what there is; they are closed in the end.

    Raises:
        Overloaded: As many are open as may be: half of all requests, so that who only looks keeps nobody from working.
    """
    open_ = services(request).streams
    most = max(services(request).settings.max_requests // 2, 1)
    if len(open_) >= most:
        raise Overloaded(f"This engine has {most:,} streams open, and no more may be.", retry_after=_BUSY_SECONDS)
    stopping = asyncio.Event()
    request.scope.setdefault("state", {})[ON_SHUTDOWN] = stopping.set
    return _Stream(_written(events, stopping), open_)


class _Stream(StreamingResponse):
    """An answer that counts as open for as long as it is given."""

    def __init__(self, written: AsyncGenerator[bytes, None], open_: set[object]) -> None:
        super().__init__(written, headers=_HEADERS, media_type=MEDIA_TYPE)
        self._written = written
        self._open = open_

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._open.add(self)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._open.discard(self)
            await self._written.aclose()


async def _written(events: AsyncGenerator[list[Event], None], stopping: asyncio.Event) -> AsyncGenerator[bytes, None]:
    yield b"retry: %d\n\n" % _AGAIN_MILLISECONDS
    stopped = asyncio.create_task(stopping.wait())
    next_ = None
    try:
        while True:
            next_ = next_ or asyncio.create_task(_next(events))
            await asyncio.wait((next_, stopped), timeout=_HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                return
            if not next_.done():
                yield _HEARTBEAT
                continue
            some, next_ = next_.result(), None
            if some is None:
                return
            if some:
                yield b"".join(b"%b\n" % event.encoded() for event in some)
    finally:
        await end_tasks(stopped, *([next_] if next_ else []))
        await events.aclose()


async def _next(events: AsyncGenerator[list[Event], None]) -> list[Event] | None:
    return await anext(events, None)
