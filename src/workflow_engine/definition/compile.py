"""From a document to a plan: the parts are read and checked, references become edges, no graph may have a cycle."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from workflow_engine.definition.document import DocumentRecord, read_document
from workflow_engine.definition.doubts import warn_of_doubts
from workflow_engine.definition.edges import Edges
from workflow_engine.definition.faults import Faults
from workflow_engine.definition.json_data import check_values, content_hash
from workflow_engine.definition.known import Known
from workflow_engine.definition.plan import CompiledDefinition, Plan, PlanScope
from workflow_engine.definition.plan_steps import plan_step
from workflow_engine.definition.references import ExpressionReader
from workflow_engine.definition.scope import json_type
from workflow_engine.definition.tree import Node, ScopeNode, Tree
from workflow_engine.errors import DefinitionInvalid, Fault

_LONGEST_NAME = 128


def compile_definition(
    document: Any,
    *,
    task_types: Collection[str] = (),
    secrets: Collection[str] | None = None,
    connections: Collection[str] | None = None,
) -> CompiledDefinition:
    """Check a document and work out what it means.

    Args:
        document: JSON data, as parsed.
        task_types: Registered task types beside the built-in ones.
        secrets: Names of the secrets there are; None = not known here, any name is accepted.
        connections: Names of the database connections there are, beside the engine's own; None = as for secrets.

    Raises:
        DefinitionInvalid: As `compile_with`.
    """
    return compile_with(document, Known(task_types, secrets, connections))


def compile_with(document: Any, known: Known) -> CompiledDefinition:
    """Check a document and work out what it means.

    Pure and deterministic; linear in the size of the document. A large one (10,000 steps) takes about a second, so
    servers call it in a thread.

    Args:
        document: JSON data, as parsed.
        known: What it may name.

    Raises:
        CircularDependency: Steps wait for each other, and nothing else is wrong.
        DefinitionInvalid: With everything that is wrong, at most 50 faults; a cycle has the code `cycle-detected`.
    """
    if not isinstance(document, Mapping):
        raise DefinitionInvalid([Fault("", "validation-error", f"must be an object, not {json_type(document)}")])
    faults = Faults()
    check_values(document, faults)
    if faults:
        raise DefinitionInvalid(faults.found)
    return _compile(document, known)


def _compile(document: Mapping[str, Any], known: Known) -> CompiledDefinition:
    faults, warnings = Faults(), Faults()
    record = read_document(document, known, faults, warnings)
    tree = Tree(record.steps, record.ending)
    expressions = ExpressionReader(tree, known, faults)
    expressions.read_default_condition(record.default_retry_condition)
    for node in tree.nodes:
        expressions.read(node)
    edges = Edges(tree, faults)
    warn_of_doubts(tree, warnings)
    children = _compile_children(tree, record, known, faults, warnings)
    cycle = edges.cycle()
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
        steps=tuple(plan_step(node, edges, children.get(node)) for node in tree.nodes),
        scopes=tuple(_scopes(tree, edges)),
        timeout=record.timeout,
        idempotency=record.idempotency,
        concurrency=record.concurrency,
        schedule=record.schedule,
        budget=record.budget,
        retention=record.retention,
        has_ending=any(node.kind != "step" for node in tree.nodes),
    )
    return CompiledDefinition(record.name, document, content_hash(document), plan, tuple(warnings.found))


def _scopes(tree: Tree, edges: Edges) -> list[PlanScope]:
    found = []
    for scope in tree.scopes[1:]:
        if scope.parent is None or scope.kind is None:
            raise AssertionError("only the workflow's own scope has no parent")
        steps = scope.steps
        final = tuple(node.position for node in steps if not edges.successors(node))
        # Without a template the steps at the end make the output of a block or catch.
        refs = tuple(sorted(node.position for node in scope.refs)) if _has_template(scope) else final
        found.append(
            PlanScope(
                scope=scope.number,
                parent_step=scope.parent.position,
                kind=scope.kind,
                depth=scope.depth,
                steps=tuple(node.position for node in steps),
                final=final,
                refs=refs if scope.kind in ("block", "catch") else (),
                variables=scope.variables,
            )
        )
    return found


def _has_template(scope: ScopeNode) -> bool:
    """Whether the parent has a template for what comes of the scope."""
    parent = scope.parent
    if parent is None:
        return False
    if scope is parent.inner:
        return parent.record.output is not None
    return any(inner is scope and parent.record.catches[at].output is not None for at, inner in parent.catches.items())


def _compile_children(
    tree: Tree, record: DocumentRecord, known: Known, faults: Faults, warnings: Faults
) -> dict[Node, CompiledDefinition]:
    """The definitions in place of `workflow` steps. One without a name is named after its step."""
    found = {}
    for node in tree.nodes:
        child = node.record.child
        if child is None or node.repeats is not None:
            continue
        pointer = node.record.input_places["definition"]
        named = child if child.get("name") is not None else {"name": _child_name(record.name, node), **child}
        try:
            found[node] = _compile(named, known)
        except DefinitionInvalid as error:
            faults.add_from(pointer, error)
            continue
        for warning in found[node].warnings:
            warnings.add(pointer + warning.pointer, warning.code, warning.message)
    return found


def _child_name(parent: str, node: Node) -> str:
    step = re.sub(r"[^a-z0-9_-]", "-", node.record.id.lower())
    return f"{parent[: _LONGEST_NAME - len(step) - 1]}_{step}" if parent else "child"
