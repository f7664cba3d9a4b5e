"""Reading definitions: Postgres says which version and which content is meant; where the content comes from is a matter
of speed.

It is looked for in the memory of this process, then in Redis, then in Postgres. Memory and Redis count only with the
present generation of the cache, which is asked for on each lookup, so that clearing the cache clears it on every
engine; lookups at the same time ask together. Without Redis everything comes from Postgres.

A start that finds its definition in memory does not wait for the generation: it asks, goes to Postgres, which starts
nothing of another content than the one that was remembered, and hears the answer afterwards. If the cache was cleared,
the definition is read from Postgres then, before the start is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from workflow_engine.api.remembered import Remembered
from workflow_engine.api.rides import Rides
from workflow_engine.definition.json_data import content_hash
from workflow_engine.definition.plan import CompiledDefinition
from workflow_engine.errors import DefinitionNotFound, RedisUnavailable
from workflow_engine.mirror.definitions import DefinitionCache
from workflow_engine.observability import metrics
from workflow_engine.records import DefinitionVersion
from workflow_engine.store.store import Store

_REGISTERED = 10_000
_DOCUMENT_BYTES = 8 * 1024 * 1024
_NAMES = 1000
_ASKING_TOGETHER = 1000

Content: TypeAlias = tuple[str, str]
"""A name and the hash of a document of that name."""


@dataclass(frozen=True, slots=True)
class Named:
    """A version of a definition, found by its name."""

    version: DefinitionVersion
    document: Mapping[str, Any]


@dataclass(slots=True)
class Recall:
    """What one start took from memory, and the question whether that still counted."""

    generation: str | None
    is_used: bool = False
    names: set[tuple[str, int | None]] = field(default_factory=set)
    answer: asyncio.Future[str] | None = None


class DefinitionReader:
    """Definitions, as the API reads them."""

    def __init__(self, store: Store, cache: DefinitionCache) -> None:
        self._store = store
        self._cache = cache
        self._generation: str | None = None
        self._generations: Rides[None, str] = Rides(self._ask_generation, most=_ASKING_TOGETHER)
        self._forget()

    async def close(self) -> None:
        await self._generations.close()

    def recall(self) -> Recall:
        """For a start that is going to use what is remembered; `confirm` it before it is answered."""
        return Recall(self._generation)

    def versions(self, definitions: Iterable[CompiledDefinition], recall: Recall) -> dict[Content, int]:
        """The numbers of the versions with these contents, as far as they are remembered."""
        recall.is_used = True
        found = {(d.name, d.hash): self._versions.get((d.name, d.hash)) for d in definitions}
        return {content: version for content, version in found.items() if version is not None}

    def remembered(self, name: str, version: int | None, recall: Recall) -> Named | None:
        """What `document` found last for this name and version; another version may be meant by now."""
        if (last := self._named.get((name, version))) is None or (document := self._documents.get(_key(last))) is None:
            return None
        recall.is_used = True
        recall.names.add((name, version))
        return Named(last, document)

    def ask_soon(self, recall: Recall) -> None:
        """Ask whether what was taken still counts: behind what this turn of the event loop sends to Postgres, which
        takes longer to answer."""

        def ask() -> None:
            recall.answer = self._generations.begin(None)
            recall.answer.add_done_callback(_heard)

        if recall.is_used and recall.answer is None:
            asyncio.get_running_loop().call_soon(ask)

    async def confirm(self, recall: Recall) -> None:
        """Read what was taken from where it is now, if the cache had been cleared before."""
        if recall.answer is None:
            return
        try:
            generation = await recall.answer
        except RedisUnavailable:
            generation = None
        self._follow(generation)
        if generation is not None and generation == recall.generation:
            metrics.definition_cache_hits.inc(len(recall.names))
            return
        for name, version in recall.names:
            with suppress(DefinitionNotFound):  # deleted since
                await self.document(name, version)

    def remember(self, versions: Mapping[Content, int]) -> None:
        """Note which numbers contents have."""
        for content, version in versions.items():
            self._versions.put(content, version)

    async def document(self, name: str, version: int | None = None) -> Named:
        """The version that a start of `name` at `version` would use by the word of Postgres, with its document.

        Raises:
            DefinitionNotFound: The name or the version is unknown.
        """
        found = await self._store.definitions.resolve(name, version)
        cached = await self._cached(found)
        if not isinstance(cached, str):
            metrics.definition_cache_hits.inc()
            self._named.put((name, version), found)
            return Named(found, cached)
        metrics.definition_cache_misses.labels(cached).inc()
        document = await self._store.definitions.document(found.id)
        # Numbers that JSON writes in two ways come back from Postgres with another hash: not worth keeping.
        if self._generation is not None and content_hash(document) == found.hash:
            self._remember(found, document)
            self._named.put((name, version), found)
            with suppress(RedisUnavailable):
                await self._cache.put(
                    name, found.version, generation=self._generation, hash=found.hash, document=document
                )
        return Named(found, document)

    async def _cached(self, wanted: DefinitionVersion) -> Mapping[str, Any] | str:
        """What is cached of a version if it is right, else the reason why it is not used."""
        try:
            if _key(wanted) in self._documents:
                self._follow(await self._generations.take(None))
                return self._documents.get(_key(wanted)) or "stale"
            generation, entry = await self._cache.get(wanted.name, wanted.version)
        except RedisUnavailable:
            self._follow(None)
            return "redis"
        self._follow(generation)
        if entry is None:
            return "none"
        if entry.generation != generation:
            return "stale"
        document = entry.document
        if entry.hash != wanted.hash or not isinstance(document, dict) or content_hash(document) != wanted.hash:
            return "wrong"
        self._remember(wanted, document)
        return document

    def _remember(self, version: DefinitionVersion, document: Mapping[str, Any]) -> None:
        self._documents.put(_key(version), document, size=len(orjson.dumps(document)))

    async def _ask_generation(self, askers: Sequence[None]) -> list[str]:
        return [await self._cache.generation()] * len(askers)

    def _follow(self, generation: str | None) -> None:
        if generation is None or generation != self._generation:
            self._forget()
        self._generation = generation

    def _forget(self) -> None:
        self._versions: Remembered[Content, int] = Remembered(_REGISTERED)
        self._documents: Remembered[tuple[str, int, str], Mapping[str, Any]] = Remembered(_DOCUMENT_BYTES)
        self._named: Remembered[tuple[str, int | None], DefinitionVersion] = Remembered(_NAMES)


def _key(version: DefinitionVersion) -> tuple[str, int, str]:
    return version.name, version.version, version.hash


def _heard(answer: asyncio.Future[str]) -> None:
    """Whoever asked may have failed meanwhile: nobody is told then that there was no answer either."""
    if not answer.cancelled():
        answer.exception()
