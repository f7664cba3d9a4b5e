"""The shape of definitions, their versions and what changed between these, in answers; see `views`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from workflow_engine.api.answers import API
from workflow_engine.definition.diff import Change, Difference
from workflow_engine.errors import Fault
from workflow_engine.records import Definition, DefinitionSummary, Version


def path_of(name: str, version: int | None = None) -> str:
    """Where a definition, or a version of it, is found."""
    path = f"{API}/definitions/{quote(name, safe='')}"
    return path if version is None else f"{path}/versions/{version}"


def summary(definition: DefinitionSummary) -> dict[str, Any]:
    path = path_of(definition.name)
    return {
        "name": definition.name,
        "latest_version": definition.latest_version,
        "pinned_version": definition.pinned_version,
        "disabled": definition.disabled_at is not None,
        "disabled_at": definition.disabled_at,
        "created_at": definition.created_at,
        "updated_at": definition.updated_at,
        "links": {"self": path, "versions": f"{path}/versions", "diff": f"{path}/diff"},
    }


def definition(found: Definition) -> dict[str, Any]:
    return {
        **summary(found),
        "version": found.version,
        "hash": found.hash,
        "registered_at": found.registered_at,
        "definition": found.document,
    }


def registered(found: Definition, warnings: Iterable[Fault]) -> dict[str, Any]:
    return {
        "name": found.name,
        "version": found.version,
        "hash": found.hash,
        "registered_at": found.registered_at,
        "warnings": faults(warnings),
        "links": {"self": path_of(found.name, found.version)},
    }


def version(found: Version) -> dict[str, Any]:
    return {
        "version": found.version,
        "hash": found.hash,
        "created_at": found.created_at,
        "active_runs": found.active_runs,
        "pinned_runs": found.pinned_runs,
        "is_default": found.is_default,
    }


def faults(found: Iterable[Fault]) -> list[dict[str, str]]:
    return [{"pointer": fault.pointer, "code": fault.code, "message": fault.message} for fault in found]


def difference(name: str, old: int, new: int, found: Difference) -> dict[str, Any]:
    return {
        "name": name,
        "from": old,
        "to": new,
        "steps": {
            "added": [{"id": id_, "pointer": pointer} for id_, pointer in found.added],
            "removed": [{"id": id_, "pointer": pointer} for id_, pointer in found.removed],
            "changed": [
                {"id": step.id, "pointer": step.pointer, "changes": [_change(change) for change in step.changes]}
                for step in found.changed
            ],
        },
        "fields": [_change(change) for change in found.fields],
    }


def _change(change: Change) -> dict[str, Any]:
    return {"pointer": change.pointer, "change": change.change, "from": change.old, "to": change.new}
