"""The connection to Redis. Redis is a hint: whatever happens here must not stop the engine."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.exceptions import RedisError


class Mirror:
    """What the engine keeps in Redis, derived from Postgres and rebuildable at any time.

    Args:
        redis_url: `redis://host:port/db`.
        timeout: Seconds after which a hung server counts as away.
    """

    def __init__(self, redis_url: str, *, timeout: float = 0.25) -> None:
        self._redis: Redis = Redis.from_url(redis_url, socket_timeout=timeout, socket_connect_timeout=timeout)

    async def reachable(self) -> bool:
        """Whether Redis answers in time."""
        try:
            return bool(await self._redis.ping())
        except (RedisError, OSError):
            return False

    async def close(self) -> None:
        await self._redis.aclose()
