"""From start requests to started workflows: compile, check inputs, register what is new, start all in one transaction.

Nothing is written before everything that can be refused was checked. What this process remembers (compiled documents,
registered versions) only saves work: Postgres is asked again when it disagrees.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson

from workflow_engine.api.admission import Admission
from workflow_engine.api.definitions import Content, DefinitionReader, Named, Recall
from workflow_engine.api.joined_starts import JoinedStarts
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
    InputInvalid,
)
from workflow_engine.records import StartedWorkflow, WorkflowStart
from workflow_engine.store.store import Store

_COMPILED_BYTES = 4 * 1024 * 1024  # of documents; what was made of them takes some ten times as much
_LARGE = 32 * 1024  # bytes; to compile or check that much takes long enough to keep other requests waiting


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

    def __init__(self, store: Store, names: KnownNames, definitions: DefinitionReader, admission: Admission) -> None:
        self._store = store
        self._known = definitions
        self._names = names
        self._admission = admission
        self._joined = JoinedStarts(store.workflows)
        self._compiled: Remembered[tuple[bytes, Known], CompiledDefinition] = Remembered(_COMPILED_BYTES)

    async def start(
        self,
        requests: Sequence[StartRequest],
        key: Key | None = None,
        *,
        by: str = "",
        awaited: bool = False,
        audit: Mapping[str, Any] | None = None,
        traceparent: str | None = None,
    ) -> Started:
        """Start workflows, all or none.

        Args:
            requests: What to start.
            key: Of the whole request.
            by: The name of the principal; keys of different ones do not meet.
            awaited: Somebody is going to wait for their ends.
            audit: The request's row of the audit log, written in the commit of the first start; not where the answer is
                a replay.
            traceparent: The span of whoever starts them.

        Raises:
            DefinitionInvalid: A document was refused.
            InputInvalid: An input does not match the schema of its definition.
            DefinitionNotFound: A name or version is unknown.
            DefinitionDisabled: A name was deleted.
            IdempotencyKeyReused: The key came before with another request.
            EnginePaused: The engine accepts nothing new.
            Overloaded: There is no room for more.
        """
        await self._admission.check()
        compiled = [None if r.document is None else await self.compile(r.document, r.pointer) for r in requests]
        recall = self._known.recall()
        starts, documents = await self._check(requests, compiled, recall)
        warnings = [() if c is None else c.warnings for c in compiled]
        definitions = [c for c in compiled if c is not None]
        versions = self._known.versions(definitions, recall) if definitions else {}
        if any(_content(c) not in versions for c in definitions):
            if key is not None:
                await self._store.workflows.check_key(key.key, fingerprint=key.fingerprint, principal=by)
            await self._store.engine.check_accepting()
        for again in (False, True):
            if again:
                starts, documents = await self._check(requests, compiled, None)
            for definition in definitions:
                if again or _content(definition) not in versions:
                    versions[_content(definition)] = await self._store.definitions.register(definition)
            known = [
                start if c is None else replace(start, version=versions[_content(c)], hash=c.hash)
                for start, c in zip(starts, compiled, strict=True)
            ]
            if by or awaited or traceparent:
                known = [
                    replace(start, created_by=by or None, awaited=awaited, traceparent=traceparent) for start in known
                ]
            if audit is not None:
                known[0] = replace(known[0], audit=audit)
            try:
                self._known.ask_soon(recall)
                workflows, replayed = await self._send(known, documents, key, by)
            except (DefinitionNotFound, DefinitionDisabled):
                # Remembered, but another content is meant by now, or it is gone: a new version, a pin, a restored
                # database; or the name was deleted, and submitting it enables it.
                if again:
                    raise
                continue
            await self._known.confirm(recall)
            self._known.remember(versions)
            return Started(workflows, warnings, replayed)
        raise AssertionError("unreachable: the second try returns or raises")

    async def close(self) -> None:
        await self._joined.close()
        await self._known.close()

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

    async def _check(
        self,
        requests: Sequence[StartRequest],
        compiled: Sequence[CompiledDefinition | None],
        recall: Recall | None,
    ) -> tuple[list[WorkflowStart], list[Mapping[str, Any]]]:
        """Hold all inputs against the schemas of their definitions.

        Args:
            requests: What to start.
            compiled: The definitions that came with them.
            recall: What is remembered will do: the start is refused if another content is meant by now. None: Postgres
                is asked which versions are meant.

        Returns:
            The starts, and the documents of their definitions.
        """
        by_name: dict[tuple[str, int | None], Named] = {}
        starts: list[WorkflowStart] = []
        documents: list[Mapping[str, Any]] = []
        for request, definition in zip(requests, compiled, strict=True):
            if definition is not None:
                await _check_input(definition.document, request)
                starts.append(_workflow_start(request, definition.name))
                documents.append(definition.document)
                continue
            named = await self._named(request, by_name, recall)
            version = named.version.version if recall is None else request.version
            starts.append(replace(_workflow_start(request, request.name), version=version, hash=named.version.hash))
            documents.append(named.document)
        return starts, documents

    async def _named(
        self, request: StartRequest, seen: dict[tuple[str, int | None], Named], recall: Recall | None
    ) -> Named:
        """The definition that a request names and that accepts its input."""
        which = request.name, request.version
        found = seen.get(which) or (None if recall is None else self._known.remembered(*which, recall))
        if found is not None:
            with suppress(InputInvalid):  # another version may accept it by now
                await _check_input(found.document, request)
                seen[which] = found
                return found
        seen[which] = await self._known.document(*which)
        await _check_input(seen[which].document, request)
        return seen[which]

    async def _send(
        self, starts: Sequence[WorkflowStart], documents: Sequence[Mapping[str, Any]], key: Key | None, by: str
    ) -> tuple[Sequence[StartedWorkflow], bool]:
        if len(starts) == 1 and key is None:
            return [await self._joined.start(starts[0], documents[0])], False
        return await self._store.workflows.start(
            starts, key=key.key if key else None, fingerprint=key.fingerprint if key else "", principal=by
        )


def _content(definition: CompiledDefinition) -> Content:
    return definition.name, definition.hash


def _workflow_start(request: StartRequest, name: str) -> WorkflowStart:
    return WorkflowStart(name, input=request.input, labels=request.labels, priority=request.priority)


async def _check_input(document: Mapping[str, Any], request: StartRequest) -> None:
    schema = document.get("input_schema")
    if not isinstance(schema, dict):
        return
    pointer = join(request.pointer, "input")
    if len(orjson.dumps(request.input)) > _LARGE:
        await asyncio.to_thread(validate_input, schema, request.input, pointer)
    else:
        validate_input(schema, request.input, pointer)


async def _compile(document: Mapping[str, Any], known: Known, size: int) -> CompiledDefinition:
    if size > _LARGE:
        return await asyncio.to_thread(compile_with, document, known)
    return compile_with(document, known)


def _placed(error: DefinitionInvalid, pointer: str) -> DefinitionInvalid:
    """The same error, its places told from the top of the whole body."""
    if isinstance(error, CircularDependency):
        return CircularDependency(error.cycle, pointer + error.faults[0].pointer)
    return DefinitionInvalid([Fault(pointer + f.pointer, f.code, f.message) for f in error.faults])
