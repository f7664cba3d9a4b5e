"""The steps of a document as typed records: what was written, with its places, before it is looked up and compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workflow_engine.definition.plan import OnError
from workflow_engine.definition.resources import Resource
from workflow_engine.definition.retries import RetryPolicy
from workflow_engine.definition.step_plan import Condition, Rule, Switch, Timeouts


@dataclass(frozen=True, slots=True)
class Edge:
    """An entry of `depends_on`.

    Attributes:
        step: The id.
        place: Of the entry.
        condition: None for an entry that is just the id.
    """

    step: str
    place: str
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class ForEachRecord:
    """`for_each` as written; `items` is a template."""

    pointer: str
    items: Any
    as_: str
    concurrency: int | None
    max_failures: int
    max_failure_ratio: float


@dataclass(frozen=True, slots=True)
class LoopRecord:
    """`loop` as written."""

    pointer: str
    until: str
    max_iterations: int
    delay: float


@dataclass(frozen=True, slots=True)
class CatchRecord:
    """An entry of `on_error.catch`; `output` is a template."""

    pointer: str
    errors: tuple[str, ...]
    when: str | None
    output: Any
    steps: tuple[StepRecord, ...]


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step as written, the defaults applied.

    Attributes:
        pointer: Its place.
        inputs: Own fields of the flat style and `inputs` together; None when there are none. A string is one `${ }`.
        input_places: Where each of them stands.
        retry_condition_place: Where the condition of its retries stands: here or in the defaults.
        steps: Of a block.
        child: Of a workflow: the definition in place.
    """

    pointer: str
    id: str
    type: str
    edges: tuple[Edge, ...]
    rule: Rule | None
    when: str | None
    inputs: dict[str, Any] | str | None
    input_places: Mapping[str, str]
    output: Any
    output_schema: dict[str, Any] | None
    retries: RetryPolicy | None
    retry_condition_place: str
    timeout: float | None
    timeouts: Timeouts | None
    on_error: OnError
    catches: tuple[CatchRecord, ...]
    queue: str
    priority: int
    idempotency_key: str | None
    resources: tuple[Resource, ...]
    for_each: ForEachRecord | None = None
    loop: LoopRecord | None = None
    steps: tuple[StepRecord, ...] = ()
    switch: Switch | None = None
    compensate: StepRecord | None = None
    child: dict[str, Any] | None = None
