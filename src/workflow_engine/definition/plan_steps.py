"""From a step as written to a step of the plan."""

from __future__ import annotations

from typing import Any

from workflow_engine.definition.edges import Edges
from workflow_engine.definition.plan import CompiledDefinition, PlanStep
from workflow_engine.definition.retries import RetryPolicy
from workflow_engine.definition.step_plan import Block, Catch, ForEach, Loop
from workflow_engine.definition.step_records import StepRecord
from workflow_engine.definition.step_types import BUILT_IN_TYPES
from workflow_engine.definition.templates import Template
from workflow_engine.definition.tree import Node, ScopeNode

_ONCE = RetryPolicy(max_attempts=1)


def plan_step(node: Node, edges: Edges, child: CompiledDefinition | None) -> PlanStep:
    """The step of the plan that a node becomes.

    Args:
        node: All nodes have their positions, and what they read.
        edges: What it waits for.
        child: Of a `workflow` step: the definition in place, compiled.
    """
    record, works = node.record, node.repeats is None
    inner = node.inner.number if node.inner is not None else 0
    inputs = record.inputs if isinstance(record.inputs, dict) else {}
    return PlanStep(
        index=node.position,
        id=record.id,
        type=node.type,
        queue=record.queue,
        priority=record.priority,
        dependencies=edges.dependencies(node),
        ordering=edges.ordering(node),
        successors=edges.successors(node),
        references=_references(node, edges),
        uses_input=node.uses_input,
        inputs=_template(_inputs(record)) if works else None,
        output=_template(record.output) if works and node.inner is None else None,
        when=record.when if node.whole else None,
        idempotency_key=_template(record.idempotency_key) if works else None,
        retries=record.retries if works else _ONCE,  # what it repeats has tries of its own
        timeout=record.timeout if works else None,
        on_error=record.on_error if node.whole else "fail",
        resources=record.resources if works else (),
        scope=node.scope.number,
        depth=node.scope.depth,
        kind=node.kind,
        body=node.body,
        rule=record.rule if node.whole else None,
        conditions=edges.conditions(node),
        asked=edges.asked(node),
        for_each=_for_each(record, inner) if node.repeats == "for_each" else None,
        loop=_loop(record, inner) if node.repeats == "loop" else None,
        block=Block(inner, _template(record.output)) if works and node.inner is not None else None,
        switch=record.switch,
        catch=_catches(record, node.catches) if node.whole else (),
        compensation=node.compensation.position if node.compensation is not None else None,
        output_schema=record.output_schema if works else None,
        timeouts=record.timeouts if works else None,
        success_when=inputs.get("success_when") if works and record.type == "http" else None,
        match=inputs.get("match") if works and record.type == "signal" else None,
        definition=child,
    )


def _references(node: Node, edges: Edges) -> tuple[int, ...]:
    """The steps whose results its worker needs."""
    found = {other.position for other in node.refs}
    if node.repeats is None and _takes_dependencies(node.record):
        found.update(edges.dependencies(_whole(node)))
    return tuple(sorted(found))


def _whole(node: Node) -> Node:
    """The outermost of the nodes that a repeated step became: the one that waits for other steps."""
    while node.body and node.scope.parent is not None:
        node = node.scope.parent
    return node


def _takes_dependencies(record: StepRecord) -> bool:
    """Whether its handler works on the outputs of its dependencies: all handlers of users may."""
    built_in = BUILT_IN_TYPES.get(record.type)
    if built_in is None:
        return True
    return not isinstance(record.inputs, str) and built_in.takes_dependencies(record.inputs or {})


def _inputs(record: StepRecord) -> Any:
    """The inputs as the handler wants them: a `transform` has its expression as a template."""
    if not isinstance(record.inputs, dict):
        return record.inputs
    if record.type == "transform" and "expression" in record.inputs:
        expression = record.inputs["expression"]
        # A comment runs to the end of its line, and must not swallow the brace.
        return {"value": "${ " + expression + ("\n}" if "//" in expression else " }")}
    built_in = BUILT_IN_TYPES.get(record.type)
    if built_in is None or not built_in.bare:
        return record.inputs
    return {name: value for name, value in record.inputs.items() if name not in built_in.bare}


def _for_each(record: StepRecord, scope: int) -> ForEach | None:
    given = record.for_each
    if given is None:
        return None
    return ForEach(
        items=Template(given.items),
        scope=scope,
        as_=given.as_,
        concurrency=given.concurrency,
        max_failures=given.max_failures,
        max_failure_ratio=given.max_failure_ratio,
    )


def _loop(record: StepRecord, scope: int) -> Loop | None:
    given = record.loop
    return None if given is None else Loop(scope, given.until, given.max_iterations, given.delay)


def _catches(record: StepRecord, scopes: dict[int, ScopeNode]) -> tuple[Catch, ...]:
    return tuple(
        Catch(
            errors=catch.errors,
            when=catch.when,
            output=_template(catch.output),
            scope=scopes[index].number if index in scopes else None,
        )
        for index, catch in enumerate(record.catches)
    )


def _template(source: Any) -> Template | None:
    return None if source is None else Template(source)
