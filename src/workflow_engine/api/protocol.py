"""HTTP/1.1 on one connection: uvicorn's, in bounded time, and with a problem for what is no request.

A request has to arrive within a time, its headers and its body, and an answer has to be read. What does neither is cut
off: a connection costs its sender nothing and us a file and memory.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from workflow_engine.api.answers import dump
from workflow_engine.api.problem_types import PROBLEM_TYPES
from workflow_engine.api.problems import MEDIA_TYPE, problem_content
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger

_BODY_GRACE_SECONDS = 2.0  # the application, which reads the body, answers first
_log = get_logger("api")


class BoundedProtocol(H11Protocol):
    """One connection. `request_seconds` is how long a request may take to arrive, and an answer to be taken."""

    request_seconds = 30.0

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self._arriving: tuple[object, bool] | None = None  # the request that is arriving: the one before, and its part
        self._arrival: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arrival = self.loop.call_later(self.request_seconds, self._give_up)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._arrival, self._taking):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._taking is None:
            self._taking = self.loop.call_later(self.request_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request; uvicorn calls this while it handles the error that says so."""
        error = sys.exc_info()[1]
        status = getattr(error, "error_status_hint", 400)
        if status == 431:
            self._refuse("headers-too-large", "The headers are too large.")
        else:
            self._refuse("malformed-request", f"This is no HTTP request: {error or msg}.")

    def _watch(self) -> None:
        """Begin to wait for the rest of a request of which something has come, or stop when all of it is there."""
        state = self.conn.their_state
        in_head = state is h11.IDLE and bool(self.conn.trailing_data[0])
        arriving = (self.cycle, in_head) if in_head or state is h11.SEND_BODY else None
        if arriving == self._arriving and arriving is not None:
            return
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None
        self._arriving = arriving
        if arriving is not None:
            grace = 0.0 if in_head else min(_BODY_GRACE_SECONDS, self.request_seconds)
            self._arrival = self.loop.call_later(self.request_seconds + grace, self._give_up)

    def _give_up(self) -> None:
        if self.transport.is_closing():
            return
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._refuse("request-timeout", f"The request did not arrive within {self.request_seconds:g} s.")
        else:
            self.transport.abort()

    def _refuse(self, code: str, detail: str) -> None:
        """The last answer on this connection; none when another one has begun."""
        metrics.refused_requests.labels(code).inc()
        request_id = uuid.uuid4().hex
        client = self.client[0] if self.client else None
        _log.info("request refused", code=code, detail=detail, client=client, request_id=request_id)
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            status = PROBLEM_TYPES[code].status
            content = dump(problem_content(code, detail, request_id))
            headers = [
                ("Content-Type", MEDIA_TYPE),
                ("Content-Length", str(len(content))),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
                ("X-Request-Id", request_id),
                ("Connection", "close"),
            ]
            response = h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status])
            for event in (response, h11.Data(data=content), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
