"""What many pages show and few changes alter: read seldom, however many look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from workflow_engine.errors import StoreUnavailable
from workflow_engine.records import Gauges
from workflow_engine.store.store import Store

_FRESH_SECONDS = 1.0

T = TypeVar("T")


class Glance:
    """Values that are shared by all pages of one engine, by name."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Any]] = {}
        self._failed: dict[str, tuple[float, StoreUnavailable]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def gauges(self, store: Store, *, anew: bool = False) -> Gauges:
        """Where the engine stands, or stood within the last second; `anew`: where it stands now.

        Raises:
            StoreUnavailable: Postgres does not answer.
        """
        return await self.kept("gauges", -1 if anew else _FRESH_SECONDS, store.gauges)

    async def kept(self, name: str, seconds: float, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` gave within the last `seconds`, else what it gives now; who asks meanwhile waits for the same.

        Raises:
            StoreUnavailable: Postgres does not answer, which all who waited for that are told at once.
        """
        asked = time.monotonic()
        async with self._locks.setdefault(name, asyncio.Lock()):
            at, value = self._kept.get(name, (float("-inf"), None))
            if time.monotonic() - at > seconds:
                failure = self._failed.get(name)
                if failure is not None and failure[0] > asked:
                    raise StoreUnavailable(failure[1].detail, hint=failure[1].hint)
                try:
                    value = await read()
                except StoreUnavailable as error:
                    self._failed[name] = (time.monotonic(), error)
                    raise
                self._kept[name] = (time.monotonic(), value)
            found: T = value
            return found
