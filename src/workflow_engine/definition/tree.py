"""A document's steps as a flat list: every repetition, block, catch and handler opens a scope."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from workflow_engine.definition.plan import ScopeKind, StepKind
from workflow_engine.definition.scope import COMMON_VARIABLES, step_alias
from workflow_engine.definition.step_records import CatchRecord, StepRecord


@dataclass(eq=False, slots=True)
class Node:
    """A step of the plan to be.

    Attributes:
        record: What it was written as. A repeated step becomes two or three nodes of one record.
        whole: Whether it has what belongs to the whole: what it waits for, when it runs, what becomes of its errors.
        repeats: What it repeats by; None: it does the work.
        inner: The scope that it opens as a repetition or block.
        catches: The scopes of its catches, by the catch's index.
        position: In the plan.
        reads: Steps of its scope that its expressions, or those of a step inside it, read: it waits for them.
        refs: Steps whose results its own expressions read.
        uses_input: Whether one of its own expressions reads `input`.
    """

    record: StepRecord
    scope: ScopeNode
    kind: StepKind
    whole: bool
    body: bool
    repeats: Literal["for_each", "loop"] | None
    inner: ScopeNode | None = None
    catches: dict[int, ScopeNode] = field(default_factory=dict)
    compensation: Node | None = None
    position: int = -1
    reads: set[Node] = field(default_factory=set)
    refs: set[Node] = field(default_factory=set)
    uses_input: bool = False

    @property
    def type(self) -> str:
        return self.repeats or self.record.type

    @property
    def at_end(self) -> bool:
        """Whether it runs when the workflow's steps have ended."""
        return self.kind in ("compensation", "on_failure", "on_exit") or self.scope.at_end


@dataclass(eq=False, slots=True)
class ScopeNode:
    """A scope of the plan to be.

    Attributes:
        variables: What its expressions see beside those of the scopes around it.
        nodes: Its steps; those of kind `step` come first.
    """

    number: int
    kind: ScopeKind | None  # None: the workflow's own
    parent: Node | None
    depth: int
    variables: tuple[str, ...]
    nodes: list[Node] = field(default_factory=list)
    refs: set[Node] = field(default_factory=set)
    by_alias: dict[str, Node] = field(default_factory=dict)

    @property
    def at_end(self) -> bool:
        return self.parent is not None and self.parent.at_end

    @property
    def steps(self) -> list[Node]:
        return [node for node in self.nodes if node.kind == "step"]

    def around(self) -> Iterator[ScopeNode]:
        """This scope and those around it, from the inside."""
        scope: ScopeNode | None = self
        while scope is not None:
            yield scope
            scope = scope.parent.scope if scope.parent is not None else None

    def visible(self) -> tuple[str, ...]:
        """All variables that its expressions see."""
        return (*COMMON_VARIABLES, *(name for scope in self.around() for name in scope.variables))

    def find(self, alias: str) -> Node | None:
        """The step that an expression here calls by this name: of this scope, else of the nearest around it."""
        return next((scope.by_alias[alias] for scope in self.around() if alias in scope.by_alias), None)


class Tree:
    """All scopes and steps of a document.

    Attributes:
        scopes: By number; the first is the workflow's own.
        nodes: By position.
    """

    def __init__(self, steps: Sequence[StepRecord], ending: Sequence[tuple[StepKind, StepRecord]]) -> None:
        """
        Args:
            steps: The workflow's own.
            ending: What follows when those have ended.
        """
        self.scopes: list[ScopeNode] = [ScopeNode(0, None, None, 0, ())]
        for record in steps:
            self._add(record, self.scopes[0], "step")
        for kind, record in ending:
            self._add(record, self.scopes[0], kind)
        self.nodes: list[Node] = []
        for scope in self.scopes:
            scope.nodes.sort(key=lambda node: node.kind != "step")
            self.nodes += scope.nodes
        for position, node in enumerate(self.nodes):
            node.position = position

    def _add(self, record: StepRecord, scope: ScopeNode, kind: StepKind) -> Node:
        whole: Node | None = None
        inside = scope
        if record.for_each is not None:
            whole = self._node(record, inside, kind, repeats="for_each")
            inside = whole.inner = self._scope("item", whole, (record.for_each.as_, "index"))
        if record.loop is not None:
            loop = self._node(record, inside, "step" if whole else kind, whole=whole is None, repeats="loop")
            inside = loop.inner = self._scope("iteration", loop, ("iteration", "last"))
            whole = whole or loop
        worker = self._node(record, inside, "step" if whole else kind, whole=whole is None)
        whole = whole or worker
        if record.type == "block":
            worker.inner = self._scope("block", worker)
            self._add_all(record.steps, worker.inner)
        for index, catch in enumerate(record.catches):
            self._add_catch(whole, index, catch)
        if record.compensate is not None:
            whole.compensation = self._add(record.compensate, scope, "compensation")
        if kind == "step":
            scope.by_alias[step_alias(record.id)] = whole
        return whole

    def _add_all(self, records: Sequence[StepRecord], scope: ScopeNode) -> None:
        for record in records:
            self._add(record, scope, "step")

    def _add_catch(self, node: Node, index: int, catch: CatchRecord) -> None:
        if catch.steps:
            node.catches[index] = self._scope("catch", node, ("error",))
            self._add_all(catch.steps, node.catches[index])

    def _node(
        self,
        record: StepRecord,
        scope: ScopeNode,
        kind: StepKind,
        *,
        whole: bool = True,
        repeats: Literal["for_each", "loop"] | None = None,
    ) -> Node:
        node = Node(record, scope, kind, whole=whole, body=not whole, repeats=repeats)
        scope.nodes.append(node)
        return node

    def _scope(self, kind: ScopeKind, parent: Node, variables: tuple[str, ...] = ()) -> ScopeNode:
        scope = ScopeNode(len(self.scopes), kind, parent, parent.scope.depth + 1, variables)
        self.scopes.append(scope)
        return scope
