"""What an operator wants to know of Redis, by a look of its own."""

from __future__ import annotations

from collections.abc import Iterator

import redis

_SECONDS = 3.0


def inspect_redis(redis_url: str) -> Iterator[tuple[bool, str, str | None]]:
    """Whether each thing is good, what it is, and what to do about it."""
    try:
        with redis.Redis.from_url(
            redis_url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS, decode_responses=True
        ) as client:
            facts = client.info("server", "memory", "replication")
    except (redis.RedisError, OSError) as error:
        yield (
            False,
            f"does not answer: {str(error).strip() or type(error).__name__}",
            "check REDIS_URL; the engine goes on without it, lists and locks in Redis are then not to be seen",
        )
        return
    kind = "Valkey" if "valkey_version" in facts else "Redis"
    yield True, f"{kind} {facts.get('valkey_version') or facts.get('redis_version')}", None
    if facts.get("role") not in (None, "master"):
        yield False, "it is a replica and refuses writes", "let REDIS_URL lead to the primary"
    used, most = int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0))
    if most and used > 0.9 * most:
        yield False, f"{used >> 20} of {most >> 20} MiB are in use", "raise maxmemory; a full Redis refuses writes"
