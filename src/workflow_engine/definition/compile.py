"""From a document to a plan: the parts are read and checked, references become edges, the graph must have no cycle."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from workflow_engine.definition import graph
from workflow_engine.definition.document import DocumentRecord, read_document
from workflow_engine.definition.faults import Faults, clipped, did_you_mean, join
from workflow_engine.definition.json_data import check_values, content_hash
from workflow_engine.definition.limits import MAX_DEPENDENCIES, MAX_EDGES
from workflow_engine.definition.plan import CompiledDefinition, Plan, PlanStep
from workflow_engine.definition.references import ExpressionReader, Reads
from workflow_engine.definition.scope import json_type
from workflow_engine.definition.step_types import BUILT_IN_TYPES
from workflow_engine.definition.steps import StepRecord
from workflow_engine.definition.templates import Template
from workflow_engine.errors import CircularDependency, DefinitionInvalid, Fault


def compile_definition(document: Any, *, task_types: Collection[str] = ()) -> CompiledDefinition:
    """Check a document and work out what it means.

    Pure and deterministic; linear in the size of the document. A large one (10,000 steps) takes about a second, so
    servers call it in a thread.

    Args:
        document: JSON data, as parsed.
        task_types: Registered task types beside the built-in ones.

    Raises:
        CircularDependency: Steps wait for each other, and nothing else is wrong.
        DefinitionInvalid: With everything that is wrong, at most 50 faults; a cycle has the code `cycle-detected`.
    """
    faults, warnings = Faults(), Faults()
    if not isinstance(document, Mapping):
        raise DefinitionInvalid([Fault("", "validation-error", f"must be an object, not {json_type(document)}")])
    check_values(document, faults)
    if faults:
        raise DefinitionInvalid(faults.found)
    record = read_document(document, task_types, faults, warnings)
    steps, cycle = _Compiler(record, faults).compile()
    if cycle is not None and not faults:
        raise cycle
    if cycle is not None:
        faults.add_from("", cycle)
    if faults:
        raise DefinitionInvalid(faults.found)
    plan = Plan(
        name=record.name,
        labels=record.labels,
        fail_fast=record.fail_fast,
        priority=record.priority,
        vars=record.vars,
        input_schema=record.input_schema,
        steps=steps,
    )
    return CompiledDefinition(record.name, document, content_hash(document), plan, tuple(warnings.found))


class _Compiler:
    def __init__(self, record: DocumentRecord, faults: Faults) -> None:
        self._steps = record.steps
        self._faults = faults
        self._positions = {step.id: index for index, step in enumerate(record.steps)}
        self._expressions = ExpressionReader(self._positions, faults)
        self._expressions.read_default_condition(record.default_retry_condition)

    def compile(self) -> tuple[tuple[PlanStep, ...], CircularDependency | None]:
        explicit = [self._explicit(step) for step in self._steps]
        reads = [self._expressions.read(step) for step in self._steps]
        dependencies = [sorted(needed | read.steps) for needed, read in zip(explicit, reads, strict=True)]
        self._check_sizes(dependencies)
        if cycle := graph.find_cycle(dependencies):
            return (), self._circular(cycle, explicit)
        if self._faults:
            return (), None
        waiting = graph.successors(dependencies)
        return tuple(
            _plan_step(
                index,
                step,
                explicit=explicit[index],
                dependencies=dependencies[index],
                waiting=waiting[index],
                reads=reads[index],
            )
            for index, step in enumerate(self._steps)
        ), None

    def _explicit(self, step: StepRecord) -> set[int]:
        found = set()
        for step_id, place in step.depends_on:
            if step_id in self._positions:
                found.add(self._positions[step_id])
            elif not self._faults.full:
                hint = did_you_mean(step_id, self._positions)
                self._faults.add(place, "unknown-dependency", f"there is no step {clipped(step_id)}{hint}")
        return found

    def _check_sizes(self, dependencies: list[list[int]]) -> None:
        edges = sum(len(needed) for needed in dependencies)
        if edges > MAX_EDGES:
            message = f"have {edges:,} dependencies in all, {MAX_EDGES:,} are allowed"
            self._faults.add("/steps", "too-many-edges", message)
        for step, needed in zip(self._steps, dependencies, strict=True):
            if len(needed) > MAX_DEPENDENCIES:
                message = f"depends on {len(needed):,} steps, {MAX_DEPENDENCIES:,} are allowed"
                self._faults.add(step.pointer, "too-many-dependencies", message)

    def _circular(self, cycle: list[int], explicit: list[set[int]]) -> CircularDependency:
        """The error, at the place of the first edge of the cycle."""
        first, second = cycle[0], cycle[1 % len(cycle)]
        pointer = join(self._steps[first].pointer, "depends_on") if second in explicit[first] else ""
        ids = [self._steps[index].id for index in (*cycle, first)]
        return CircularDependency(ids, pointer or self._steps[first].pointer)


def _plan_step(
    index: int, step: StepRecord, *, explicit: set[int], dependencies: list[int], waiting: list[int], reads: Reads
) -> PlanStep:
    return PlanStep(
        index=index,
        id=step.id,
        type=step.type,
        queue=step.queue,
        priority=step.priority,
        dependencies=tuple(dependencies),
        ordering=tuple(other for other in dependencies if other not in explicit),
        successors=tuple(waiting),
        references=tuple(dependencies if _takes_dependencies(step) else sorted(reads.steps)),
        uses_input=reads.uses_input,
        inputs=_template(_inputs(step)),
        output=_template(step.output),
        when=step.when,
        idempotency_key=_template(step.idempotency_key),
        retries=step.retries,
        timeout=step.timeout,
        on_error=step.on_error,
        resources=step.resources,
    )


def _takes_dependencies(step: StepRecord) -> bool:
    """Whether its handler works on the outputs of its dependencies: all handlers of users may."""
    built_in = BUILT_IN_TYPES.get(step.type)
    if built_in is None:
        return True
    return not isinstance(step.inputs, str) and built_in.takes_dependencies(step.inputs or {})


def _inputs(step: StepRecord) -> Any:
    """The inputs as the handler wants them: a `transform` has its expression as a template."""
    if step.type == "transform" and isinstance(step.inputs, dict) and "expression" in step.inputs:
        expression = step.inputs["expression"]
        # A comment runs to the end of its line, and must not swallow the brace.
        return {"value": "${ " + expression + ("\n}" if "//" in expression else " }")}
    return step.inputs


def _template(source: Any) -> Template | None:
    return None if source is None else Template(source)
