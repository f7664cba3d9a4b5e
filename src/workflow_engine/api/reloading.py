"""Definitions in files: reading `WORKFLOW_DEFINITIONS_DIR`, and making every process read definitions anew.

A file is a definition, as the body of `POST /workflows` would be without its input. What is new in them is registered;
one that is wrong stops none of the others. What Postgres has already stays as it is, so also a definition that was
deleted since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from workflow_engine.api.definition_files import SUFFIXES, file_fault, read_file
from workflow_engine.api.known_names import KnownNames
from workflow_engine.definition.compile import compile_with
from workflow_engine.definition.plan import CompiledDefinition
from workflow_engine.errors import DefinitionInvalid, EngineError, Fault, InputInvalid, RedisUnavailable, RequestRefused
from workflow_engine.mirror.definitions import DefinitionCache
from workflow_engine.observability.logs import get_logger
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store

_AGAIN_SECONDS = 5.0
_TRIES = 24  # at start: workers that bring task types may take two minutes


@dataclass(slots=True)
class Reloaded:
    """What reading the files brought."""

    reloaded: int = 0
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    invalid: list[tuple[str, Sequence[Fault]]] = field(default_factory=list)  # by file

    @property
    def lacks_types(self) -> bool:
        """Whether a file was refused for a task type that no worker has brought yet."""
        return any(fault.code == "unknown-step-type" for _, faults in self.invalid for fault in faults)


class Reloader:
    """Reads definitions anew for the API.

    Args:
        settings: `WORKFLOW_DEFINITIONS_DIR` and the size limit are used.
        store: Where what is new is registered.
        names: What definitions may name.
        cache: Whose generation ends with a reload.
    """

    def __init__(self, settings: Settings, store: Store, names: KnownNames, cache: DefinitionCache) -> None:
        self._directory = Path(settings.definitions_dir) if settings.definitions_dir else None
        self._limit = settings.max_payload_bytes
        self._store = store
        self._names = names
        self._cache = cache
        self._log = get_logger("definitions")

    async def reload(self) -> Reloaded:
        """Register what is new in the files, and make all engines and workers read definitions anew.

        Raises:
            StoreUnavailable: Postgres is away; call again.
        """
        done = await self._read()
        with suppress(RedisUnavailable):  # without Redis nothing is cached
            await self._cache.renew()
        await self._store.definitions.announce()
        self._tell(done)
        return done

    async def read_at_start(self) -> None:
        """Register what is new in the files, as soon as Postgres is there and workers have brought the task types."""
        if self._directory is None:
            return
        told = None
        for _ in range(_TRIES):
            try:
                done = await self._read()
                if done.added or done.changed or done.invalid != told:
                    told = done.invalid
                    self._tell(done)
                if not done.lacks_types:
                    return
            except EngineError as error:
                self._log.warning("definitions not read yet", error=error.detail)
            except Exception:
                self._log.exception("definitions not read")
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _read(self) -> Reloaded:
        done = Reloaded()
        seen: dict[str, str] = {}
        for path in await asyncio.to_thread(self._files, done):
            try:
                definition = await self._compiled(path)
                if (other := seen.setdefault(definition.name, path.name)) != path.name:
                    raise file_fault("duplicate-property", f"{definition.name} is defined by {other}, too")
                await self._register(definition, done)
                done.reloaded += 1
            except (DefinitionInvalid, InputInvalid) as error:
                done.invalid.append((path.name, error.faults))
            except RequestRefused as error:
                done.invalid.append((path.name, [Fault("", error.code, error.detail)]))
        return done

    def _files(self, done: Reloaded) -> list[Path]:
        """The definition files, by name; not those of folders in it, nor hidden ones."""
        if self._directory is None:
            return []
        try:
            found = sorted(self._directory.iterdir())
        except OSError as error:
            fault = Fault("", "file-unreadable", f"the directory cannot be read: {error.strerror}")
            done.invalid.append((str(self._directory), [fault]))
            return []
        return [p for p in found if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()]

    async def _compiled(self, path: Path) -> CompiledDefinition:
        document = await asyncio.to_thread(read_file, path, limit=self._limit)
        known = await self._names.known(fresh=True)
        return await asyncio.to_thread(compile_with, document, known)

    async def _register(self, definition: CompiledDefinition, done: Reloaded) -> None:
        name_is_known, content_is_known = await self._store.definitions.known(definition.name, definition.hash)
        if content_is_known:
            return
        await self._store.definitions.register(definition)
        (done.changed if name_is_known else done.added).append(definition.name)

    def _tell(self, done: Reloaded) -> None:
        for file, faults in done.invalid:
            error = "; ".join(f"{fault.pointer or '/'}: {fault.message}" for fault in faults[:3])
            self._log.warning("definition refused", file=file, error=error)
        self._log.info(
            "definitions read", files=done.reloaded, added=",".join(done.added), changed=",".join(done.changed)
        )
