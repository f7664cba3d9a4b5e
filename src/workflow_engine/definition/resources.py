"""Locks and limits of a step: what it must get before it may run, shared by all workflows of the engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from workflow_engine.definition.faults import clipped, join
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.limits import MAX_RESOURCES, MAX_UNITS
from workflow_engine.definition.scope import json_type

ResourceKind = Literal["lock", "limit"]
ResourceScope = Literal["task", "workflow"]

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}")
_KEY_RULE = "up to 128 of A-Z a-z 0-9 _ . : / -, beginning with a letter, a digit or _"


@dataclass(frozen=True, slots=True)
class Resource:
    """A lock or a limit that a step names.

    Attributes:
        kind: A lock has one holder; a limit has as many units as the step allows to be in use at once.
        key: Its name, for the whole engine.
        scope: How long it is held: for one attempt of the task, or until the workflow ends (locks only).
        capacity: Units that may be in use at once, those of the step included.
        units: Units that the step takes.
    """

    kind: ResourceKind
    key: str
    scope: ResourceScope
    capacity: int
    units: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Resource:
        return cls(data["kind"], data["key"], data["scope"], data["capacity"], data["units"])


def read_resources(step: Fields) -> tuple[Resource, ...]:
    """The locks and limits of a step, ordered by kind and key."""
    found: dict[tuple[str, str], Resource] = {}
    for name, read in (("locks", _read_lock), ("limits", _read_limit)):
        values = step.items(name) or []
        if len(values) > MAX_RESOURCES:
            step.fault(name, "out-of-range", f"has {len(values):,} items, {MAX_RESOURCES} are allowed")
            continue
        for index, value in enumerate(values):
            place = join(step.at(name), index)
            if name == "locks" and isinstance(value, str):
                resource = _read_lock(Fields({"key": value}, place, step.faults), place)
            elif isinstance(value, dict):
                resource = read(Fields(value, place, step.faults), join(place, "key"))
            else:
                wanted = "a key or an object with one" if name == "locks" else "an object with a key and a concurrency"
                step.faults.add(place, "validation-error", f"must be {wanted}, not {json_type(value)}")
                continue
            if resource is None:
                continue
            if (resource.kind, resource.key) in found:
                step.faults.add(place, "validation-error", f"{clipped(resource.key)} is named twice")
            found[resource.kind, resource.key] = resource
    return tuple(found[name] for name in sorted(found))


def _read_lock(lock: Fields, key_place: str) -> Resource | None:
    lock.refuse_unknown(("key", "scope"))
    key = _read_key(lock, key_place)
    scope = cast(ResourceScope, lock.choice("scope", ("task", "workflow")) or "task")
    return None if key is None else Resource("lock", key, scope, 1, 1)


def _read_limit(limit: Fields, key_place: str) -> Resource | None:
    limit.refuse_unknown(("key", "concurrency", "units"), ("rate",))
    key = _read_key(limit, key_place)
    if limit.get("concurrency") is None:
        limit.fault("concurrency", "validation-error", "is missing: how many units may be in use at once")
    capacity = limit.integer("concurrency", 1, MAX_UNITS)
    units = limit.integer("units", 1, MAX_UNITS) or 1
    if capacity is not None and units > capacity:
        limit.fault("units", "out-of-range", f"must be at most the concurrency, {capacity:,}: it could never run")
    return None if key is None or capacity is None else Resource("limit", key, "task", capacity, units)


def _read_key(resource: Fields, place: str) -> str | None:
    key = resource.get("key")
    if key is None:
        resource.faults.add(place, "validation-error", "is missing")
    elif not isinstance(key, str):
        resource.faults.add(place, "validation-error", f"must be a string, not {json_type(key)}")
    elif "${" in key:
        message = "a key is plain text: expressions are evaluated on workers, and this decides who gets the task"
        resource.faults.add(place, "invalid-name", message)
    elif not _KEY.fullmatch(key):
        resource.faults.add(place, "invalid-name", f"{clipped(key)} is not accepted: {_KEY_RULE}")
    else:
        return key
    return None
