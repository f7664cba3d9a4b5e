"""What is refused before anybody looks: too long, for another host, sent by another site's page, or too much."""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from workflow_engine.api.callers import Hosts, address_of, host_name, is_of_another_site
from workflow_engine.api.problems import clip, problem
from workflow_engine.api.rates import Rates
from workflow_engine.observability import metrics
from workflow_engine.settings import Settings

MAX_TARGET_BYTES = 8192
"""Of a path with its query."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# Probes and scrapes go on while everything else is too much.
_PROBES = frozenset({"/livez", "/readyz", "/metrics", "/api/v1/livez", "/api/v1/readyz"})
_BUSY_SECONDS = 2


class Guards:
    """A layer around the application, inside the one that logs.

    Args:
        app: What is guarded.
        settings: What is allowed.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        # Scripts of a foreign page have no key; where none is needed, the name is all there is to know them by.
        self._hosts = Hosts(settings.allowed_hosts or ("*" if settings.needs_keys else ""))
        self._rates = Rates(settings.rate_limit)
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if refusal := self._refusal(request):
            await refusal(scope, receive, send)
            return
        self._in_progress += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_progress -= 1

    def _refusal(self, request: Request) -> Response | None:
        return self._too_long(request) or self._elsewhere(request) or self._too_much(request)

    def _too_long(self, request: Request) -> Response | None:
        target = len(request.scope["raw_path"]) + len(request.scope["query_string"])
        if target > MAX_TARGET_BYTES:
            return _refuse(request, "uri-too-long", f"The path and query have {target:,} bytes.")
        size = sum(len(name) + len(value) for name, value in request.scope["headers"])
        if size > self._settings.max_header_bytes:
            return _refuse(request, "headers-too-large", f"The headers have {size:,} bytes.")
        return None

    def _elsewhere(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if not self._hosts.knows(host_name(host)):
            return _refuse(
                request,
                "host-not-allowed",
                f"This engine is not known as {clip(host, 80)!r}.",
                hint=f"If it is, start it with WORKFLOW_ALLOWED_HOSTS={clip(host_name(host), 80)}.",
            )
        if request.scope["method"] not in _SAFE and is_of_another_site(request.headers, self._hosts):
            origin = clip(request.headers.get("origin", "another site"), 80)
            return _refuse(
                request,
                "origin-not-allowed",
                f"A page of {origin} may change nothing here.",
                hint="If it is one of yours, add its host to WORKFLOW_ALLOWED_HOSTS.",
            )
        return None

    def _too_much(self, request: Request) -> Response | None:
        if request.scope["path"] in _PROBES:
            return None
        if self._in_progress >= self._settings.max_requests:
            detail = f"This engine is busy with {self._in_progress:,} requests."
            return _refuse(request, "overloaded", detail, retry_after=_BUSY_SECONDS)
        if self._settings.needs_keys and "authorization" in request.headers:
            return None  # counted by its key
        if wait := self._rates.wait(address_of(request.scope)):
            detail = f"You may send {self._settings.rate_limit:g} requests a second."
            return _refuse(request, "rate-limited", detail, retry_after=math.ceil(wait))
        return None


def _refuse(
    request: Request, code: str, detail: str, *, hint: str | None = None, retry_after: int | None = None
) -> Response:
    metrics.refused_requests.labels(code).inc()
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return problem(request, code, detail, hint=hint, headers=headers)
