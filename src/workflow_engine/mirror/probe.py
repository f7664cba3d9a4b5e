"""Whether Redis does its part, for the health check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflow_engine.errors import RedisUnavailable
from workflow_engine.mirror.client import Mirror
from workflow_engine.mirror.pending import EPOCH

if TYPE_CHECKING:
    from redis.asyncio import Redis

_PROBE = "workflow:probe"
_LIVES_MILLISECONDS = 1000


async def problem_of(mirror: Mirror) -> str | None:
    """What is wrong with Redis: it is away, hangs, refuses writes, or lost its memory; None when nothing is."""

    async def write_and_read(redis: Redis) -> bool:
        await redis.set(_PROBE, "1", px=_LIVES_MILLISECONDS)
        return bool(await redis.exists(EPOCH))

    try:
        if await mirror.call("probe", write_and_read):
            return None
    except RedisUnavailable as error:
        return f"Redis is away or refuses writes: {error.detail}"
    return f"The lists in Redis are being built; {EPOCH} is missing."
