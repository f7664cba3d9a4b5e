"""The plan: what a validated document means, as data. Stored with the version; the SQL core and workers read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

from workflow_engine.definition.resources import Resource
from workflow_engine.definition.retries import RetryPolicy
from workflow_engine.definition.templates import Template

OnError = Literal["fail", "continue"]


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step. Other steps are named by their position in the plan.

    Attributes:
        index: Its position.
        id: As in the document.
        type: Built-in or registered task type.
        queue: Whose workers may run it.
        priority: Higher first; the workflow's own priority is added to it.
        dependencies: The steps it waits for, ascending: those of `depends_on` and those its expressions read.
        ordering: Those dependencies that an expression brought alone. They must have ended; how they ended is for
            the expression to judge.
        successors: The steps that wait for it, ascending.
        references: The steps whose status, output and error a worker needs to run it, ascending. Always dependencies.
        uses_input: Whether an expression reads `input`.
        inputs: What the handler gets, or None when the document says nothing.
        output: What becomes of the handler's result, or None to keep it as it is.
        when: A condition in CEL; false skips the step.
        idempotency_key: Replaces the default `<workflow_id>/<step id>`.
        retries: None = the handler's, else the engine's.
        timeout: Seconds for one attempt; None = the task type's, else the engine's.
        on_error: `continue`: its failure does not fail the workflow.
        resources: The locks and limits that it must get before it may run.
    """

    index: int
    id: str
    type: str
    queue: str
    priority: int
    dependencies: tuple[int, ...]
    ordering: tuple[int, ...]
    successors: tuple[int, ...]
    references: tuple[int, ...]
    uses_input: bool
    inputs: Template | None
    output: Template | None
    when: str | None
    idempotency_key: Template | None
    retries: RetryPolicy | None
    timeout: float | None
    on_error: OnError
    resources: tuple[Resource, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {field.name: _to_json(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlanStep:
        known = {field.name: data[field.name] for field in fields(cls) if field.name != "resources"}
        for name in ("dependencies", "ordering", "successors", "references"):
            known[name] = tuple(known[name])
        for name in ("inputs", "output", "idempotency_key"):
            known[name] = None if known[name] is None else Template(known[name])
        known["retries"] = None if known["retries"] is None else RetryPolicy.from_json(known["retries"])
        # A plan from before there were any has none.
        known["resources"] = tuple(Resource.from_json(resource) for resource in data.get("resources", ()))
        return cls(**known)


@dataclass(frozen=True)
class Plan:
    """A whole definition, ready to run.

    Attributes:
        name: Of the definition.
        labels: Given to each workflow of it.
        fail_fast: Whether the first failure cancels what has not ended.
        priority: Of its workflows, unless a start says otherwise.
        vars: Constants for expressions.
        input_schema: JSON Schema of the input, or None for any input.
        steps: In the document's order.
    """

    name: str
    labels: dict[str, str]
    fail_fast: bool
    priority: int
    vars: dict[str, Any]
    input_schema: dict[str, Any] | bool | None
    steps: tuple[PlanStep, ...]

    @cached_property
    def by_id(self) -> dict[str, PlanStep]:
        """The steps by their id."""
        return {step.id: step for step in self.steps}

    def to_json(self) -> dict[str, Any]:
        """The form stored in the database; `from_json` reads it."""
        return {field.name: _to_json(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Read a stored plan. Keys it does not know are left out: a newer engine may have added them."""
        known = {field.name: data[field.name] for field in fields(cls)}
        known["steps"] = tuple(PlanStep.from_json(step) for step in known["steps"])
        return cls(**known)


def _to_json(value: Any) -> Any:
    if isinstance(value, Template):
        return value.source
    if isinstance(value, PlanStep | RetryPolicy | Resource):
        return value.to_json()
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    return value
