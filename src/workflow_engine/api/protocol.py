"""HTTP/1.1 on one connection: uvicorn's, in bounded time and memory, and with a problem for what is no request.

A request has to arrive within a time, its head and its body, and an answer has to be read. What does neither is cut
off: a connection costs its sender nothing and us a file and memory.
"""

from __future__ import annotations

import asyncio
import uuid
from enum import Enum, auto
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from workflow_engine.api.answers import dump
from workflow_engine.api.problem_types import PROBLEM_TYPES
from workflow_engine.api.problems import MEDIA_TYPE, problem_content
from workflow_engine.api.streams import ON_SHUTDOWN
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger

_BODY_GRACE_SECONDS = 2.0  # the application, which reads the body, answers first
_log = get_logger("api")


class _Part(Enum):
    """What of a request is arriving."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    `request_seconds` is how long a request may take to arrive, and an answer to be taken; `max_head_bytes` how much
    of a head is kept that has not come to its end.
    """

    request_seconds = 30.0
    max_head_bytes = 64 * 1024

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self._part = _Part.NOTHING
        self._head_bytes = 0  # of what is neither body nor at its end: a head, or what follows the last chunk
        self._answered: RequestResponseCycle | None = None  # the request that the application is at
        self._is_deaf = False  # nothing that still comes is looked at
        self._arrival: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_arrival(self.request_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._await_arrival(None)
        if self._taking is not None:
            self._taking.cancel()
        if self._answered is not None and self._answered is not self.cycle:  # others came behind it
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._unset_keepalive_if_required()
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end_after_answers()  # nothing else is spoken here: the answer is that to the request as it is
        except httptools.HttpParserError as error:
            self._refuse("malformed-request", f"This is no HTTP request: {error.__context__ or error}.")
        else:
            if self._part is not _Part.NOTHING and self._head_bytes > self.max_head_bytes:
                self._refuse("headers-too-large", "The headers are too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._part = _Part.HEAD
        self._await_arrival(self.request_seconds)

    def on_headers_complete(self) -> None:
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            raise ValueError(f"it has {hosts} headers Host instead of one")
        self._part = _Part.BODY
        self._head_bytes = 0
        self._await_arrival(self.request_seconds + min(_BODY_GRACE_SECONDS, self.request_seconds))
        super().on_headers_complete()
        self.headers = []  # what may follow the last chunk is none of the request's: nobody looked at it on the way

    def on_chunk_header(self) -> None:
        self._head_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._head_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._part = _Part.NOTHING
        self._head_bytes = 0
        self._await_arrival(None)
        super().on_message_complete()

    def shutdown(self) -> None:
        """Streams end at once, for whoever reads them comes back, to another engine; other answers get their time."""
        if self._answered is not None and (stop := self._answered.scope.get("state", {}).get(ON_SHUTDOWN)):
            stop()
        super().shutdown()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._taking is None:
            self._taking = self.loop.call_later(self.request_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        super().resume_writing()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    @property
    def _owes_answers(self) -> bool:
        """To requests that came before what is arriving now."""
        if self._part is _Part.BODY:
            return bool(self.pipeline)
        return self.cycle is not None and not self.cycle.response_complete

    def _await_arrival(self, seconds: float | None) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
        self._arrival = None if seconds is None else self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self.transport.is_closing():
            return
        if self._part is _Part.HEAD:
            self._refuse("request-timeout", f"The request did not arrive within {self.request_seconds:g} s.")
        else:
            self.transport.abort()

    def _end_after_answers(self) -> None:
        self._is_deaf = True
        self._await_arrival(None)
        self.cycle.keep_alive = False
        if self.cycle.response_complete:
            self.transport.close()

    def _refuse(self, code: str, detail: str) -> None:
        """The last answer on this connection; none when there are others to be given first, or one has begun."""
        metrics.refused_requests.labels(code).inc()
        request_id = uuid.uuid4().hex
        client = self.client[0] if self.client else None
        _log.info("request refused", code=code, detail=detail, client=client, request_id=request_id)
        if self._owes_answers:
            self._end_after_answers()
            return
        self._is_deaf = True
        self._await_arrival(None)
        refused = self.cycle if self._part is _Part.BODY else None
        if refused is None or not refused.response_started:
            content = dump(problem_content(code, detail, request_id))
            headers = {
                "Content-Type": MEDIA_TYPE,
                "Content-Length": str(len(content)),
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
                "X-Request-Id": request_id,
                "Connection": "close",
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            self.transport.write(STATUS_LINE[PROBLEM_TYPES[code].status] + head.encode() + b"\r\n" + content)
        if refused is not None:
            refused.disconnected = True  # what the application says to it comes too late
            refused.message_event.set()
        self.transport.close()
