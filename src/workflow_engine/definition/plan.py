"""The plan: what a validated document means, as data. Stored with the version; the SQL core and workers read it.

All steps of all scopes are one list. The workflow's own steps (scope 0) come first, in the document's order. A step
that repeats, groups or catches opens a scope: a list of steps of its own, whose tasks are made when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache, cached_property
from typing import Any, Literal, cast

from workflow_engine.definition.resources import Resource
from workflow_engine.definition.retries import RetryPolicy
from workflow_engine.definition.step_plan import (
    Block,
    Catch,
    Condition,
    ForEach,
    Loop,
    Rule,
    Switch,
    Timeouts,
    as_json,
)
from workflow_engine.definition.templates import Template
from workflow_engine.definition.workflow_plan import Budget, Concurrency, Idempotency, Retention, Schedule
from workflow_engine.errors import Fault

OnError = Literal["fail", "continue"]
StepKind = Literal["step", "output", "compensation", "on_failure", "on_exit"]
ScopeKind = Literal["item", "iteration", "block", "catch"]


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step. Other steps are named by their position in the plan.

    Attributes:
        index: Its position.
        id: As in the document.
        type: Built-in or registered task type; `for_each` and `loop` for the repetition of a step, which is then the
            body of its scope.
        queue: Whose workers may run it.
        priority: Higher first; the workflow's own priority is added to it.
        dependencies: The steps it waits for, ascending: those of `depends_on` and those its expressions read, or those
            of a step inside it. All in its own scope.
        ordering: Those dependencies that an expression brought alone. They must have ended; how they ended is for
            the expression to judge.
        successors: The steps that wait for it, ascending.
        references: The steps whose status, output and error a worker needs to run it, ascending. Dependencies, or steps
            of the scopes around its own.
        uses_input: Whether an expression reads `input`.
        inputs: What the handler gets, or None when the document says nothing.
        output: What becomes of the handler's result, or None to keep it as it is.
        when: A condition in CEL; false skips the step.
        idempotency_key: Replaces the default `<workflow_id>/<step path>`.
        retries: None = the handler's, else the engine's.
        timeout: Seconds for one attempt; None = the task type's, else the engine's.
        on_error: `continue`: its failure does not fail the workflow.
        resources: The locks and limits that it must get before it may run.
        scope: Number of the scope it stands in; 0 = the workflow's own.
        depth: How many scopes are around it; 0 = in the workflow's own.
        kind: All but `step` get their tasks only when they are needed.
        body: The only step of an item or iteration.
        rule: When it runs, given how the steps before it ended; None = `auto`.
        conditions: What must have become of a dependency, by its position.
        asked: A step behind it asks for its failure, which so ends nothing at once.
        for_each: Of the type `for_each`.
        loop: Of the type `loop`.
        block: Of the type `block`.
        switch: Of the type `switch`.
        catch: What becomes of its errors, in order.
        compensation: Position of the step that undoes it.
        output_schema: JSON Schema of the shaped output.
        timeouts: The other time limits.
        success_when: Of the type `http`: CEL over `result` that says whether the attempt succeeded.
        match: Of the type `signal`: CEL over `event` that says whether an event is meant.
        definition: Of the type `workflow`: the child, where it is written in place.
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
    scope: int = 0
    depth: int = 0
    kind: StepKind = "step"
    body: bool = False
    rule: Rule | None = None
    conditions: Mapping[int, Condition] = field(default_factory=dict)
    asked: bool = False
    for_each: ForEach | None = None
    loop: Loop | None = None
    block: Block | None = None
    switch: Switch | None = None
    catch: tuple[Catch, ...] = ()
    compensation: int | None = None
    output_schema: dict[str, Any] | None = None
    timeouts: Timeouts | None = None
    success_when: str | None = None
    match: str | None = None
    definition: CompiledDefinition | None = None

    def to_json(self) -> dict[str, Any]:
        """The form stored in the database; what has its default is left out, as most steps have little of it."""
        return _to_json(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlanStep:
        known = _known(cls, data)
        for name in ("dependencies", "ordering", "successors", "references"):
            known[name] = tuple(known[name])
        for name in ("inputs", "output", "idempotency_key"):
            known[name] = None if known[name] is None else Template(known[name])
        for name, part in _STEP_PARTS.items():
            if known.get(name) is not None:
                known[name] = part(known[name])
        return cls(**known)


@dataclass(frozen=True, slots=True)
class PlanScope:
    """A list of steps inside a step.

    Attributes:
        scope: Its number, from 1: `Plan.scopes[scope - 1]`.
        parent_step: Position of the step whose tasks open it.
        kind: `item` and `iteration` have one step, the body.
        depth: Of its steps.
        steps: Their positions, those of kind `step`, ascending.
        final: Those of them that no other waits for: when all have ended, so has the scope.
        refs: Those whose results the parent's expressions read when the scope has ended.
        variables: What its expressions see beside the variables of the scopes around it.
    """

    scope: int
    parent_step: int
    kind: ScopeKind
    depth: int
    steps: tuple[int, ...]
    final: tuple[int, ...]
    refs: tuple[int, ...] = ()
    variables: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {entry.name: as_json(getattr(self, entry.name)) for entry in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlanScope:
        known = _known(cls, data)
        for name in ("steps", "final", "refs", "variables"):
            known[name] = tuple(known.get(name, ()))
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
        steps: Of all scopes; the workflow's own first, in the document's order.
        scopes: The lists of steps inside steps, by number from 1.
        timeout: Seconds a workflow may take from its start; None = any.
        idempotency: Which starts are one.
        concurrency: How many workflows with the same key run at a time.
        schedule: When workflows start by themselves.
        budget: What a workflow may use up.
        retention: How long ended workflows are kept.
        has_ending: Whether more may follow when the last step has ended: an output template, handlers, compensations.
    """

    name: str
    labels: dict[str, str]
    fail_fast: bool
    priority: int
    vars: dict[str, Any]
    input_schema: dict[str, Any] | bool | None
    steps: tuple[PlanStep, ...]
    scopes: tuple[PlanScope, ...] = ()
    timeout: float | None = None
    idempotency: Idempotency | None = None
    concurrency: tuple[Concurrency, ...] = ()
    schedule: tuple[Schedule, ...] = ()
    budget: Budget | None = None
    retention: Retention | None = None
    has_ending: bool = False

    def whole(self, step: PlanStep) -> PlanStep:
        """The step that waits for others, where `step` is the body of its repetition; else `step` itself."""
        while step.body:
            step = self.steps[self.scopes[step.scope - 1].parent_step]
        return step

    @cached_property
    def by_id(self) -> dict[str, PlanStep]:
        """The workflow's own steps by their id."""
        return {step.id: step for step in self.steps if step.scope == 0 and step.kind == "step"}

    def to_json(self) -> dict[str, Any]:
        """The form stored in the database; `from_json` reads it."""
        return _to_json(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Read a stored plan. Keys it does not know are left out: a newer engine may have added them."""
        known = _known(cls, data)
        known["steps"] = tuple(PlanStep.from_json(step) for step in known["steps"])
        for name, part in _PLAN_PARTS.items():
            if known.get(name) is not None:
                known[name] = part(known[name])
        return cls(**known)


@dataclass(frozen=True, slots=True)
class CompiledDefinition:
    """A document that was accepted.

    Attributes:
        name: Of the definition.
        document: As submitted.
        hash: SHA-256 (hex) of the document's canonical JSON: equal content, equal version.
        plan: What it means.
        warnings: What is allowed but probably not meant.
    """

    name: str
    document: Mapping[str, Any]
    hash: str
    plan: Plan
    warnings: tuple[Fault, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "document": self.document, "hash": self.hash, "plan": self.plan.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CompiledDefinition:
        return cls(data["name"], data["document"], data["hash"], Plan.from_json(data["plan"]))


def _each(part: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    return lambda values: tuple(part(value) for value in values)


_STEP_PARTS: Mapping[str, Callable[[Any], Any]] = {
    "retries": RetryPolicy.from_json,
    "resources": _each(Resource.from_json),
    "rule": Rule.from_json,
    "conditions": lambda found: {int(position): Condition.from_json(value) for position, value in found.items()},
    "for_each": ForEach.from_json,
    "loop": Loop.from_json,
    "block": Block.from_json,
    "switch": Switch.from_json,
    "catch": _each(Catch.from_json),
    "timeouts": Timeouts.from_json,
    "definition": CompiledDefinition.from_json,
}
_PLAN_PARTS: Mapping[str, Callable[[Any], Any]] = {
    "scopes": _each(PlanScope.from_json),
    "idempotency": Idempotency.from_json,
    "concurrency": _each(Concurrency.from_json),
    "schedule": _each(Schedule.from_json),
    "budget": Budget.from_json,
    "retention": Retention.from_json,
}


def _to_json(part: PlanStep | Plan) -> dict[str, Any]:
    """A step or plan: the fields that plans had from the beginning, and those others that are not as by default."""
    found = {}
    for name, default, made in _stored_fields(cast(Any, type(part))):
        value = getattr(part, name)
        # Most are the very object that is the default; comparing takes longer.
        if value is default or value == default or (made and not value):
            continue
        found[name] = as_json(value)
    return found


@cache
def _stored_fields(part: Any) -> tuple[tuple[str, Any, bool], ...]:
    """Name and default of each field, and whether its default is made anew: an empty one then."""
    return tuple((entry.name, entry.default, entry.default_factory is not MISSING) for entry in fields(part))


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    return {entry.name: data[entry.name] for entry in fields(cast(Any, cls)) if entry.name in data}
