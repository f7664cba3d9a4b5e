"""What many pages show and few changes alter: read seldom, however many look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from workflow_engine.errors import StoreUnavailable
from workflow_engine.records import Gauges
from workflow_engine.store.store import Store

_FRESH_SECONDS = 1.0
_MOST = 300

T = TypeVar("T")


@dataclass(slots=True)
class _Kept:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    read_at: float = float("-inf")
    value: Any = None
    failed_at: float = float("-inf")
    failure: StoreUnavailable | None = None


class Glance:
    """Values that are shared by all pages of one engine, by name: the last few hundred of them."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

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
        kept = self._of(name)
        async with kept.lock:
            if time.monotonic() - kept.read_at > seconds:
                if kept.failure is not None and kept.failed_at > asked:
                    raise StoreUnavailable(kept.failure.detail, hint=kept.failure.hint)
                try:
                    kept.value = await read()
                except StoreUnavailable as error:
                    kept.failed_at, kept.failure = time.monotonic(), error
                    raise
                kept.read_at, kept.failure = time.monotonic(), None
            found: T = kept.value
            return found

    def _of(self, name: str) -> _Kept:
        """What is kept by a name. Some names have what readers wrote: those asked for longest ago are forgotten."""
        kept = self._kept.pop(name, None) or _Kept()
        self._kept[name] = kept
        if len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]
        return kept
