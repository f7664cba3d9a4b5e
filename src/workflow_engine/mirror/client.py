"""The connection to Redis. Redis is a hint: whatever happens here must not stop the engine, or slow it down.

Every call has 250 ms. Redis that did not answer is left alone for a moment, and all calls in that time fail at once; so
an outage costs nobody more than the one call that noticed it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from workflow_engine.errors import RedisUnavailable
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger

_TIMEOUT_SECONDS = 0.25
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0

T = TypeVar("T")


class Kind(StrEnum):
    """What a call needs: a full Redis and a replica still answer reads."""

    READ = "read"
    WRITE = "write"


class _Breaker:
    """Says when something that failed may be tried again, and lets one caller try."""

    def __init__(self) -> None:
        self.failing = False
        self._pause = _FIRST_PAUSE_SECONDS
        self._next_try = 0.0

    @property
    def allows(self) -> bool:
        return not self.failing or time.monotonic() >= self._next_try

    def trying(self) -> None:
        """The others wait for what this try finds."""
        self._next_try = time.monotonic() + self._pause

    def failed(self) -> None:
        self._next_try = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        self.failing = True

    def worked(self) -> None:
        self.failing = False
        self._pause = _FIRST_PAUSE_SECONDS


class Mirror:
    """What the engine keeps in Redis, derived from Postgres and rebuildable at any time.

    Args:
        redis_url: `redis://host:port/db`.
        timeout: Seconds after which a hung server counts as away.
    """

    def __init__(self, redis_url: str, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        self._redis: Redis = Redis.from_url(
            redis_url,
            # `call` limits the time. With a timeout of its own redis-py sends in `asyncio.wait_for`, which loses a
            # cancellation that arrives as the sending ends (Python 3.11): who waited for the end would wait for ever.
            socket_timeout=None,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),  # the next call is the retry
            decode_responses=True,
            encoding_errors="replace",  # what others wrote under our names may be anything
        )
        self._timeout = timeout
        self._connection = _Breaker()
        self._kinds = {kind: _Breaker() for kind in Kind}
        self._log = get_logger("mirror")

    async def call(
        self, op: str, act: Callable[[Redis], Awaitable[T]], *, kind: Kind = Kind.WRITE, timeout: float | None = None
    ) -> T:
        """Do something with Redis, within the timeout.

        Args:
            op: What it is for, as `workflow_redis_errors_total` counts it.
            act: Does it; ends with the first error.
            kind: What it needs.
            timeout: Seconds; default: that of this mirror.

        Raises:
            RedisUnavailable: Redis is away, hung, or refused; or it was a moment ago.
        """
        breakers = (self._connection, self._kinds[kind])
        if not all(breaker.allows for breaker in breakers):
            raise RedisUnavailable
        for breaker in breakers:
            breaker.trying()
        try:
            async with asyncio.timeout(timeout or self._timeout):
                answer = await act(self._redis)
        except (RedisError, OSError) as error:  # a TimeoutError is an OSError
            self._failed(op, kind, error)
            raise RedisUnavailable(_shown(error)) from error
        was_failing = self._failing
        for breaker in breakers:
            breaker.worked()
        if was_failing and not self._failing:
            self._log.info("redis available again", op=op)
        return answer

    async def close(self) -> None:
        await self._redis.aclose()

    @property
    def _failing(self) -> bool:
        return self._connection.failing or any(breaker.failing for breaker in self._kinds.values())

    def _failed(self, op: str, kind: Kind, error: Exception) -> None:
        metrics.redis_errors.labels(op).inc()
        if not self._failing:
            self._log.warning("redis unavailable", op=op, error=_shown(error))
        # An answer that refuses proves the connection: reads may go on while writes are refused.
        (self._kinds[kind] if isinstance(error, ResponseError) else self._connection).failed()


def _shown(error: Exception) -> str:
    """The reason, for people."""
    if isinstance(error, TimeoutError):
        return "Redis did not answer in time."
    return str(error).strip() or type(error).__name__
