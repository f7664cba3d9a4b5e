"""What every request and answer has: an id, a time, a log line, safe headers; and 500 for what nobody caught."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workflow_engine.access import NOBODY, Principal
from workflow_engine.api.answers import MEDIA_TYPES
from workflow_engine.api.problems import problem
from workflow_engine.api.streams import IS_STREAM
from workflow_engine.api.tracing import traceparent_of
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.observability.trace_context import trace_of

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JSON_ACCEPTED = ("*/*", "application/*", "application/json", "application/problem+json")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # What a page may do, if an answer is opened as one: nothing, but a drawing may have its own style.
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
_HEADERS_OF_JSON = (*_HEADERS, (b"cache-control", b"no-store"))
_EVENTS = "/events"  # paths that end so are streams of events, which is what a browser's EventSource accepts
_NOT_JSON = ("/docs", "/redoc", "/metrics", "/static-offline-docs", "/admin")
_log = get_logger("api")


class Envelope:
    """The outermost layer of the application.

    A request may bring its own `X-Request-Id` (letters, digits, `. _ -`, at most 64); the answer repeats it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        metrics.requests_in_flight.inc()
        try:
            await self._serve(exchange, receive)
        except ClientDisconnect:
            exchange.status = 499
        except Exception:  # the one place where a bug becomes an answer
            _log.exception("request failed", request_id=exchange.request_id, path=scope["path"])
            if exchange.status:
                raise  # the answer has begun: only ending the connection can tell that it is not whole
            detail = "An unexpected error. It was logged with this request id."
            await problem(exchange.request, "internal-error", detail)(exchange.scope, receive, exchange.send)
        finally:
            metrics.requests_in_flight.dec()
            exchange.record()

    async def _serve(self, exchange: _Exchange, receive: Receive) -> None:
        if not exchange.accepts_json:
            detail = "Answers are application/json."
            hint = "Leave out the Accept header, or add application/json to it."
            answer = problem(exchange.request, "not-acceptable", detail, hint=hint)
            await answer(exchange.scope, receive, exchange.send)
            return
        await self._app(exchange.scope, receive, exchange.send)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._headers = Headers(scope=scope)
        given = self._headers.get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self.method: str = scope["method"]
        self.scope: MutableMapping[str, Any] = {**scope, "request_id": self.request_id}
        self._is_json = not self.scope["path"].startswith(_NOT_JSON)
        if self.method == "HEAD":
            self.scope["method"] = "GET"
        self.request = Request(self.scope)
        self.status = 0
        self._is_ended = False
        self._send = send
        self._begun = time.perf_counter()
        self._answered: float | None = None

    @property
    def accepts_json(self) -> bool:
        accept = self._headers.get("accept", "")
        if not accept or not self._is_json:
            return True
        ranges = [part.split(";")[0].strip().lower() for part in accept.split(",")]
        if self.scope["path"].endswith(_EVENTS) and any(part in ("text/event-stream", "text/*") for part in ranges):
            return True
        media_type = MEDIA_TYPES.get(self.request.query_params.get("format", ""))
        if media_type is None:
            return any(part in _JSON_ACCEPTED for part in ranges)
        # Whoever asks for a form by name gets it, unless only something else is accepted.
        main_type = media_type.split("/")[0]
        return any(part in ("*/*", f"{main_type}/*", "text/plain", media_type) for part in ranges)

    @property
    def _principal(self) -> str | None:
        principal: Principal = self.scope.get("principal", NOBODY)
        return principal.name or None

    @property
    def _trace_id(self) -> str | None:
        traceparent = traceparent_of(self.scope)
        return traceparent and trace_of(traceparent)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._answered = time.perf_counter()
            headers: list[tuple[bytes, bytes]] = message["headers"]
            names = {name for name, _ in headers}
            headers.append((b"x-request-id", self.request_id.encode()))
            headers += (
                header for header in (_HEADERS_OF_JSON if self._is_json else _HEADERS) if header[0] not in names
            )
        elif self.method == "HEAD":
            if self._is_ended:
                return
            self._is_ended = True  # that of a stream, too, which would keep the connection from what comes next
            message = {**message, "body": b"", "more_body": False}
        await self._send(message)

    def record(self) -> None:
        """Count the request, and log it when it changed something or went wrong."""
        seconds = time.perf_counter() - self._begun
        status = self.status or 500
        route = getattr(self.scope.get("route"), "path", "unmatched")
        # How long somebody followed a stream says nothing about how long they were kept waiting.
        counted = self._answered - self._begun if self._answered and self.scope.get(IS_STREAM) else seconds
        metrics.http_request_duration.labels(route, _known(self.method), str(status)).observe(counted)
        if status >= 500:
            if status != 503:
                metrics.internal_errors.inc()
            log = _log.error
        elif status < 400 and self.method in ("GET", "HEAD", "OPTIONS"):
            log = _log.debug
        else:
            log = _log.info
        log(
            "request",
            workflow_id=self.scope.get("workflow_id"),
            principal=self._principal,
            method=self.method,
            path=self.scope["path"],
            status=status,
            seconds=seconds,
            request_id=self.request_id,
            trace_id=self._trace_id,
        )


def _known(method: str) -> str:
    """The method as a label: a client must not be able to make up new series."""
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
