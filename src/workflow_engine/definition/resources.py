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
_RATE = re.compile(r"([0-9]{1,9})/([0-9]{0,6})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LONGEST_RATE = 86_400
_KEY_RULE = "up to 128 of A-Z a-z 0-9 _ . : / -, beginning with a letter, a digit or _"


@dataclass(frozen=True, slots=True)
class LimitRate:
    """So many units may be begun in so many seconds."""

    units: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Resource:
    """A lock or a limit that a step names.

    Attributes:
        kind: A lock has one holder; a limit has as many units as the step allows to be in use at once.
        key: Its name, for the whole engine.
        scope: How long it is held: for one attempt of the task, or until the workflow ends (locks only).
        capacity: Units that may be in use at once, those of the step included.
        units: Units that the step takes.
        rate: How many units may be begun in a time (limits only); None = any.
    """

    kind: ResourceKind
    key: str
    scope: ResourceScope
    capacity: int
    units: int
    rate: LimitRate | None = None

    def to_json(self) -> dict[str, Any]:
        found = asdict(self)
        if self.rate is None:
            del found["rate"]
        return found

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Resource:
        rate = data.get("rate")
        return cls(
            data["kind"],
            data["key"],
            data["scope"],
            data["capacity"],
            data["units"],
            None if rate is None else LimitRate(rate["units"], rate["seconds"]),
        )


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
    limit.refuse_unknown(("key", "concurrency", "rate", "units"))
    key = _read_key(limit, key_place)
    rate = _read_rate(limit)
    if limit.get("concurrency") is None and limit.get("rate") is None:
        message = "is missing: how many units may be in use at once; or give a `rate`"
        limit.fault("concurrency", "validation-error", message)
    capacity = limit.integer("concurrency", 1, MAX_UNITS)
    units = limit.integer("units", 1, MAX_UNITS) or 1
    if capacity is not None and units > capacity:
        limit.fault("units", "out-of-range", f"must be at most the concurrency, {capacity:,}: it could never run")
    elif rate is not None and units > rate.units:
        limit.fault("units", "out-of-range", f"must be at most those of the rate, {rate.units:,}: it could never run")
    if key is None or (capacity is None and limit.get("concurrency") is not None):
        return None
    return Resource("limit", key, "task", MAX_UNITS if capacity is None else capacity, units, rate)


def _read_rate(limit: Fields) -> LimitRate | None:
    text = limit.matching("rate", _RATE, "validation-error", "write units per time, such as 10/s, 60/m or 5/30s")
    if text is None or (found := _RATE.fullmatch(text)) is None:
        return None
    units, seconds = int(found[1]), int(found[2] or 1) * _SECONDS[found[3]]
    if not 1 <= units <= MAX_UNITS or not 1 <= seconds <= _LONGEST_RATE:
        limit.fault("rate", "out-of-range", f"must be 1 to {MAX_UNITS:,} units in at most a day")
        return None
    return LimitRate(units, float(seconds))


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
