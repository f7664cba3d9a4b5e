"""One look at one page: who looks, what is asked for, and where other pages are from there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote, urlencode

from fastapi import Request

from workflow_engine.access import Principal, Scope
from workflow_engine.api.entering import principal_of
from workflow_engine.api.services import services
from workflow_engine.dashboard.glance import Glance
from workflow_engine.mirror.client import Mirror
from workflow_engine.observability.alerts import at_present, told
from workflow_engine.records import Alert, Gauges, Watched
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

_JUST_NOW_SECONDS = 0.2
_ALERTS_SECONDS = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Visit:
    """What the reader of a page works with.

    Attributes:
        request: Path parameters and the query are its own.
        gauges: Where the engine stands, as it was a moment ago.
        glance: What is shared with other pages.
        last_event: The number of the last event there was, before anything was read.
        watched: What was found when the conditions of alerts were looked at last.
        beside: Seconds of processor time that were spent in other threads.
        anew: Who looks has just done something, and wants to see what came of it.
    """

    request: Request
    gauges: Gauges
    glance: Glance
    last_event: int
    watched: Watched
    beside: list[float] = field(default_factory=list)
    anew: bool = False

    @classmethod
    async def begin(cls, request: Request, glance: Glance) -> Visit:
        """Raises:
        StoreUnavailable: Postgres does not answer.
        """
        store = services(request).store
        last = await glance.kept("last event", _JUST_NOW_SECONDS, store.overview.last_event)
        anew = "no-cache" in request.headers.get("cache-control", "")  # somebody has just done something
        watched = await glance.kept("alerts", -1 if anew else _ALERTS_SECONDS, store.alerts.watched)
        return cls(request, await glance.gauges(store, anew=anew), glance, last, watched, anew=anew)

    @property
    def store(self) -> Store:
        return services(self.request).store

    @property
    def settings(self) -> Settings:
        return services(self.request).settings

    @property
    def mirror(self) -> Mirror:
        return services(self.request).mirror

    @property
    def principal(self) -> Principal:
        return principal_of(self.request)

    @property
    def alerts(self) -> Sequence[Alert]:
        """Those that fire and ask for somebody; what only follows from another is left out."""
        return [alert for alert in told(at_present(self.watched)) if alert.severity != "info"]

    async def kept(self, name: str, seconds: float, read: Callable[[], Awaitable[T]]) -> T:
        """What is shared with other pages for some seconds; read anew for whoever has just done something to it."""
        return await self.glance.kept(name, -1 if self.anew else seconds, read)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do what takes some time so that nobody else waits for it."""

        def timed() -> T:
            begun = time.thread_time()
            try:
                return work()
            finally:
                self.beside.append(time.thread_time() - begun)

        return await asyncio.to_thread(timed)

    def may(self, scope: Scope) -> bool:
        """Whether who looks may do what asks for this scope: what they may not is not offered."""
        return self.principal.may(scope)

    def asked(self, name: str, default: str = "") -> str:
        """A parameter of the query."""
        return self.request.query_params.get(name, default)

    def url(self, path: str, /, **query: object) -> str:
        """Another page, or the API, from here.

        It is relative, so that it holds under whatever prefix a proxy shows the engine.

        Args:
            path: From the root of the engine: `/admin/queues`.
            query: Its parameters; None leaves one out.
        """
        return relative(self.request.url.path, path, query)

    def here(self, /, **query: object) -> str:
        """This page with some parameters of its query changed; None takes one away."""
        kept: dict[str, list[str]] = {}
        for name, value in self.request.query_params.multi_items():
            if name not in query:
                kept.setdefault(name, []).append(value)  # some may be given more than once
        return relative(self.request.url.path, self.request.url.path, {**kept, **query})


def relative(page: str, path: str, query: Mapping[str, object] | None = None) -> str:
    """The address of `path` as it is written on the page at `page`."""
    up = "../" * (page.count("/") - 1) or "./"
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{up}{quote(path.lstrip('/'))}{'?' + urlencode(given, doseq=True) if given else ''}"
