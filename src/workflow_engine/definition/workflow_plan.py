"""The parts of a plan about its workflows as a whole: how they start, how many there may be, what they may cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, cast

IdempotencyConflict = Literal["return_existing", "reject"]
ConcurrencyConflict = Literal["queue", "reject", "cancel_running"]
Overlap = Literal["skip", "queue", "allow", "cancel_running"]
Catchup = Literal["latest", "none", "all"]
OnExceeded = Literal["pause", "fail", "cancel"]

KeyParts: TypeAlias = tuple[Mapping[str, Any], ...]
"""A key as Postgres renders it at the start: `{"text": "customer:"}` and `{"path": ["input", "customer"]}` in order. A
path begins with `input`, `vars`, or `workflow` and `labels`."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """Starts with the same key are one start.

    Attributes:
        key: Of a start.
        on_conflict: `return_existing`: the workflow of the first start is answered; `reject`: a conflict.
        ttl: Seconds the key is remembered.
    """

    key: KeyParts
    on_conflict: IdempotencyConflict
    ttl: float

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Idempotency:
        return cls(tuple(data["key"]), data["on_conflict"], data["ttl"])


@dataclass(frozen=True, slots=True)
class Concurrency:
    """So many workflows with the same key run at a time, whatever their definition.

    Attributes:
        key: Of a workflow.
        limit: How many.
        on_conflict: `queue`: a further one waits; `reject`: it is refused; `cancel_running`: it takes the place of the
            oldest.
    """

    key: KeyParts
    limit: int
    on_conflict: ConcurrencyConflict

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Concurrency:
        return cls(tuple(data["key"]), data["limit"], data["on_conflict"])


@dataclass(frozen=True, slots=True)
class Schedule:
    """When workflows start by themselves.

    Attributes:
        cron: Five fields.
        timezone: IANA name in which they are read.
        overlap: When the one before has not ended: `skip` this one, `queue` it behind that, `allow` both, or
            `cancel_running`.
        catchup: What was missed while nothing could start: the `latest` of it, `none`, or `all`.
        input: Of its workflows.
    """

    cron: str
    timezone: str = "UTC"
    overlap: Overlap = "skip"
    catchup: Catchup = "latest"
    input: Any = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schedule:
        return cls(**_known(cls, data))


@dataclass(frozen=True, slots=True)
class Bound:
    """A soft bound warns, a hard one ends or pauses; None = none."""

    soft: float | None = None
    hard: float | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Bound:
        return cls(data.get("soft"), data.get("hard"))


@dataclass(frozen=True, slots=True)
class Budget:
    """What a workflow and its children may use up in all.

    Attributes:
        tokens: Of models.
        cost_usd: US dollars.
        steps: Tasks that were begun.
        on_exceeded: What a hard bound does: `pause` the workflow, `fail` or `cancel` it.
    """

    tokens: Bound | None = None
    cost_usd: Bound | None = None
    steps: Bound | None = None
    on_exceeded: OnExceeded = "pause"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Budget:
        bounds = {name: Bound.from_json(data[name]) for name in ("tokens", "cost_usd", "steps") if name in data}
        return cls(**bounds, on_exceeded=data.get("on_exceeded", "pause"))


@dataclass(frozen=True, slots=True)
class Retention:
    """Seconds for which workflows are kept after their end, by status; None = as the engine is set."""

    succeeded: float | None = None
    failed: float | None = None
    cancelled: float | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Retention:
        return cls(**_known(cls, data))


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: data[field.name] for field in fields(cast(Any, cls)) if field.name in data}
