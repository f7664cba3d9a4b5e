"""The cache of definitions: `workflow:definitions:<name>:<version>`, and its generation under the literal name
`workflow:definitions:*`.

redis-cli's DEL does not glob. So that the runbook's `del "workflow:definitions:*"` really clears the cache, every
entry, here and in the memory of any engine, counts only with the present generation, which is the value of that key:
unique, so that none ever comes back. Entries and generation are in different slots of a cluster, and are never asked
for in one command.

The cache decides nothing: which version and which content is meant says Postgres, and an entry with another content is
passed by.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from redis.exceptions import ResponseError

from workflow_engine.mirror.client import Kind, Mirror

if TYPE_CHECKING:
    from redis.asyncio import Redis

GENERATION = "workflow:definitions:*"
_ENTRY_SECONDS = 6 * 3600


@dataclass(frozen=True, slots=True)
class CachedDefinition:
    """An entry as it was found; nothing in it is known to be right."""

    generation: Any
    hash: Any
    document: Any


class DefinitionCache:
    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    async def generation(self) -> str:
        """The present generation; made if there is none.

        Raises:
            RedisUnavailable: There is no cache now.
        """
        return await self._known(await self._mirror.call("definitions", _text_of(GENERATION), kind=Kind.READ))

    async def get(self, name: str, version: int) -> tuple[str, CachedDefinition | None]:
        """The present generation and the entry of a version, whatever it holds, in one round trip.

        Raises:
            RedisUnavailable: There is no cache now.
        """

        async def read(redis: Redis) -> list[Any]:
            pipeline = redis.pipeline(transaction=False)
            pipeline.get(GENERATION)
            pipeline.get(_entry(name, version))
            return await pipeline.execute(raise_on_error=False)

        generation, entry = await self._mirror.call("definitions", read, kind=Kind.READ)
        return await self._known(generation), _cached(entry)

    async def put(self, name: str, version: int, *, generation: str, hash: str, document: Mapping[str, Any]) -> None:
        """Keep an entry for some hours.

        Raises:
            RedisUnavailable: It is not kept.
        """
        entry = orjson.dumps({"generation": generation, "hash": hash, "document": document})
        await self._mirror.call("definitions", lambda redis: redis.set(_entry(name, version), entry, ex=_ENTRY_SECONDS))

    async def renew(self) -> None:
        """Begin a new generation: nothing that was cached counts any more.

        Raises:
            RedisUnavailable: There is no cache now.
        """
        await self._mirror.call("definitions", lambda redis: redis.set(GENERATION, uuid.uuid4().hex))

    async def _known(self, found: Any) -> str:
        if isinstance(found, str) and found:
            return found

        async def make(redis: Redis) -> Any:
            if found is None:
                await redis.set(GENERATION, uuid.uuid4().hex, nx=True)
            else:  # something of another type stands there
                await redis.set(GENERATION, uuid.uuid4().hex)
            return await redis.get(GENERATION)

        return str(await self._mirror.call("definitions", make))


def _entry(name: str, version: int) -> str:
    return f"workflow:definitions:{name}:{version}"


def _text_of(key: str) -> Any:
    async def read(redis: Redis) -> Any:
        try:
            return await redis.get(key)
        except ResponseError as error:
            if "WRONGTYPE" in str(error):
                return error
            raise

    return read


def _cached(entry: Any) -> CachedDefinition | None:
    """What an entry says; something that is none says nothing."""
    if not isinstance(entry, str):
        return None
    try:
        value = orjson.loads(entry)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        value = {}
    return CachedDefinition(value.get("generation"), value.get("hash"), value.get("document"))
