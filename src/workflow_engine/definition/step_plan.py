"""The parts of a step's plan: when it runs, what it repeats, what catches its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, cast

from workflow_engine.definition.templates import Template

RuleName = Literal[
    "all_success", "all_done", "none_failed", "one_success", "one_failed", "all_failed", "always", "min_success"
]
SwitchMode = Literal["first", "all"]


@dataclass(frozen=True, slots=True)
class Rule:
    """When a step runs, given how the steps before it ended. A step without one has the rule `auto`.

    Attributes:
        min: Of `min_success`: so many must have succeeded.
    """

    name: RuleName
    min: int | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rule:
        return cls(data["name"], data.get("min"))


@dataclass(frozen=True, slots=True)
class Condition:
    """What must have become of a step before. Both parts must hold where both are given.

    Attributes:
        on: Final statuses, one of which it must have; empty: none is asked for.
        cases: Of a switch, one of which it must have chosen; empty: none is asked for.
    """

    on: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Condition:
        return cls(tuple(data.get("on", ())), tuple(data.get("cases", ())))


@dataclass(frozen=True, slots=True)
class ForEach:
    """A step of the internal type `for_each`: its scope once per item.

    Attributes:
        items: Gives a list, an object (the items are `{key, value}`), or an integer n (the items are 0 to n-1).
        scope: Number of the scope; it has one step, the body.
        as_: What expressions call the item.
        concurrency: Items that run at a time; None = all.
        max_failures: So many items may fail.
        max_failure_ratio: So large a part of the items may fail. What allows more counts.
    """

    items: Template
    scope: int
    as_: str = "item"
    concurrency: int | None = None
    max_failures: int = 0
    max_failure_ratio: float = 0.0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ForEach:
        return cls(**{**_known(cls, data), "items": Template(data["items"])})


@dataclass(frozen=True, slots=True)
class Loop:
    """A step of the internal type `loop`: its scope again and again.

    Attributes:
        scope: Number of the scope; it has one step, the body.
        until: CEL over `result` (the body's shaped output): true ends the loop.
        max_iterations: A loop that comes so far without an end fails.
        delay: Seconds between the end of an iteration and the next.
    """

    scope: int
    until: str
    max_iterations: int
    delay: float = 0.0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Loop:
        return cls(**_known(cls, data))


@dataclass(frozen=True, slots=True)
class Block:
    """A step of the type `block`: its scope once.

    Attributes:
        scope: Number of the scope.
        output: Sees the steps of the scope; None: an object of its last steps' outputs by id.
    """

    scope: int
    output: Template | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Block:
        return cls(data["scope"], _template(data.get("output")))


@dataclass(frozen=True, slots=True)
class Catch:
    """What becomes of an error of the step. The first catch that matches wins.

    Attributes:
        errors: Patterns as in `retry_on`; one must match.
        when: CEL over `error` that must hold too.
        output: Of the step then; sees `error`, and the steps of the scope if there is one.
        scope: Number of the scope to run; None: there is none.
    """

    errors: tuple[str, ...]
    when: str | None = None
    output: Template | None = None
    scope: int | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Catch:
        return cls(**{**_known(cls, data), "errors": tuple(data["errors"]), "output": _template(data.get("output"))})


@dataclass(frozen=True, slots=True)
class Case:
    """A case of a switch: a condition in CEL and the id by which steps behind it name it."""

    id: str
    when: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Case:
        return cls(data["id"], data["when"])


@dataclass(frozen=True, slots=True)
class Switch:
    """A step of the type `switch`. Its output is `{"cases": [...]}`, the ids of the cases it chose.

    Attributes:
        cases: In order.
        default: Id of the case chosen when none holds.
        mode: `first`: the first case that holds; `all`: all that hold.
    """

    cases: tuple[Case, ...]
    default: str = "default"
    mode: SwitchMode = "first"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Switch:
        return cls(**{**_known(cls, data), "cases": tuple(Case.from_json(case) for case in data["cases"])})


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits beside that of an attempt (`PlanStep.timeout`), in seconds; None = none.

    Attributes:
        schedule_to_start: From pending to the claim, of every attempt.
        heartbeat: Longest silence of a handler that reports progress.
        schedule_to_close: From the first time it was pending to the end, over all attempts.
    """

    schedule_to_start: float | None = None
    heartbeat: float | None = None
    schedule_to_close: float | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Timeouts:
        return cls(**_known(cls, data))


_PLAIN = frozenset({str, int, float, bool})


def as_json(value: Any) -> Any:
    """A part of a plan as JSON data. What is None or an empty list is left out."""
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, Template):
        return value.source
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: as_json(given)
            for field in fields(value)
            if (given := getattr(value, field.name)) not in (None, ())
        }
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    return {str(key): as_json(item) for key, item in value.items()} if isinstance(value, Mapping) else value


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """The stored fields that a class has: a newer engine may have added others."""
    return {field.name: data[field.name] for field in fields(cast(Any, cls)) if field.name in data}


def _template(source: Any) -> Template | None:
    return None if source is None else Template(source)
