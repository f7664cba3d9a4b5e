"""From start requests to started workflows: compile, check inputs, register what is new, start all in one transaction.

Nothing is written before everything that can be refused was checked. What this process remembers (compiled documents,
registered versions) only saves work: Postgres is asked again when it disagrees.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from workflow_engine.api.definitions import Content, DefinitionReader
from workflow_engine.api.known_names import KnownNames
from workflow_engine.api.remembered import Remembered
from workflow_engine.api.starts import StartRequest
from workflow_engine.definition.compile import compile_with
from workflow_engine.definition.faults import join
from workflow_engine.definition.input_schema import validate_input
from workflow_engine.definition.known import Known
from workflow_engine.definition.plan import CompiledDefinition
from workflow_engine.errors import (
    CircularDependency,
    DefinitionDisabled,
    DefinitionInvalid,
    DefinitionNotFound,
    Fault,
)
from workflow_engine.records import StartedWorkflow, WorkflowStart
from workflow_engine.store.store import Store

_COMPILED_BYTES = 4 * 1024 * 1024  # of documents; what was made of them takes some ten times as much
_LARGE_DOCUMENT = 32 * 1024  # bytes; compiling it takes long enough to keep other requests waiting


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key and what identifies the request it came with."""

    key: str
    fingerprint: str

    @classmethod
    def of(cls, key: str | None, content: Any) -> Key | None:
        """A key with what identifies its request: the content, however it was written."""
        if key is None:
            return None
        return cls(key, hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest())


@dataclass(frozen=True, slots=True)
class Started:
    """What a start brought: workflows and warnings in the order of the requests."""

    workflows: Sequence[StartedWorkflow]
    warnings: Sequence[Sequence[Fault]]
    replayed: bool


class Starter:
    """Starts workflows for the API."""

    def __init__(self, store: Store, names: KnownNames, definitions: DefinitionReader) -> None:
        self._store = store
        self._known = definitions
        self._names = names
        self._compiled: Remembered[tuple[bytes, Known], CompiledDefinition] = Remembered(_COMPILED_BYTES)

    async def start(self, requests: Sequence[StartRequest], key: Key | None = None) -> Started:
        """Start workflows, all or none.

        Raises:
            DefinitionInvalid: A document was refused.
            InputInvalid: An input does not match the schema of its definition.
            DefinitionNotFound: A name or version is unknown.
            DefinitionDisabled: A name was deleted.
            IdempotencyKeyReused: The key came before with another request.
            EnginePaused: The engine accepts nothing new.
        """
        compiled = [None if r.document is None else await self.compile(r.document, r.pointer) for r in requests]
        starts = [
            await self._start_by_name(r) if c is None else self._start_of(r, c)
            for r, c in zip(requests, compiled, strict=True)
        ]
        warnings = [() if c is None else c.warnings for c in compiled]
        definitions = [c for c in compiled if c is not None]
        versions = await self._known.versions(definitions) if definitions else {}
        if any(_content(c) not in versions for c in definitions):
            if key is not None:
                await self._store.workflows.check_key(key.key, fingerprint=key.fingerprint)
            await self._store.engine.check_accepting()
        for again in (False, True):
            for definition in definitions:
                if again or _content(definition) not in versions:
                    versions[_content(definition)] = await self._store.definitions.register(definition)
            self._known.remember(versions)
            known = [
                start if c is None else replace(start, version=versions[_content(c)], hash=c.hash)
                for start, c in zip(starts, compiled, strict=True)
            ]
            try:
                workflows, replayed = await self._store.workflows.start(
                    known, key=key.key if key else None, fingerprint=key.fingerprint if key else ""
                )
            except (DefinitionNotFound, DefinitionDisabled):
                # Remembered, but gone since: the database was restored, or the name deleted. Submitting it enables it.
                if again or not definitions:
                    raise
                continue
            return Started(workflows, warnings, replayed)
        raise AssertionError("unreachable: the second try returns or raises")

    async def compile(self, document: Mapping[str, Any], pointer: str = "") -> CompiledDefinition:
        """Check a document with the names that are known here; nothing is stored.

        Args:
            document: JSON data.
            pointer: Where it stands in the body.

        Raises:
            DefinitionInvalid: It was refused.
        """
        source = orjson.dumps(document)
        known = await self._names.known()
        found = self._compiled.get((source, known))
        if found is not None:
            return found
        try:
            try:
                compiled = await _compile(document, known, len(source))
            except DefinitionInvalid as error:
                if all(fault.code not in ("unknown-step-type", "unknown-secret") for fault in error.faults):
                    raise
                # A worker may have brought the type, or an operator the secret, a moment ago.
                known = await self._names.known(fresh=True)
                compiled = await _compile(document, known, len(source))
        except DefinitionInvalid as error:
            raise _placed(error, pointer) from error
        self._compiled.put((source, known), compiled, size=len(source))
        return compiled

    def _start_of(self, request: StartRequest, definition: CompiledDefinition) -> WorkflowStart:
        schema = definition.plan.input_schema
        validate_input(schema if isinstance(schema, dict) else None, request.input, join(request.pointer, "input"))
        return _workflow_start(request, definition.name)

    async def _start_by_name(self, request: StartRequest) -> WorkflowStart:
        found, document = await self._known.document(request.name, request.version)
        schema = document.get("input_schema")
        validate_input(schema if isinstance(schema, dict) else None, request.input, join(request.pointer, "input"))
        return replace(_workflow_start(request, request.name), version=found.version, hash=found.hash)


def _content(definition: CompiledDefinition) -> Content:
    return definition.name, definition.hash


def _workflow_start(request: StartRequest, name: str) -> WorkflowStart:
    return WorkflowStart(name, input=request.input, labels=request.labels, priority=request.priority)


async def _compile(document: Mapping[str, Any], known: Known, size: int) -> CompiledDefinition:
    if size > _LARGE_DOCUMENT:
        return await asyncio.to_thread(compile_with, document, known)
    return compile_with(document, known)


def _placed(error: DefinitionInvalid, pointer: str) -> DefinitionInvalid:
    """The same error, its places told from the top of the whole body."""
    if isinstance(error, CircularDependency):
        return CircularDependency(error.cycle, pointer + error.faults[0].pointer)
    return DefinitionInvalid([Fault(pointer + f.pointer, f.code, f.message) for f in error.faults])
