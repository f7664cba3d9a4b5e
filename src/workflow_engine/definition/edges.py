"""The graphs of a document, one per scope: what was written and what expressions read, as positions in the plan."""

from __future__ import annotations

from workflow_engine.definition import graph
from workflow_engine.definition.faults import Faults, clipped, did_you_mean, join
from workflow_engine.definition.limits import MAX_DEPENDENCIES, MAX_EDGES
from workflow_engine.definition.scope import step_alias
from workflow_engine.definition.step_plan import Condition
from workflow_engine.definition.step_records import Edge
from workflow_engine.definition.tree import Node, ScopeNode, Tree
from workflow_engine.errors import CircularDependency

_ASKING_RULES = ("all_done", "one_failed", "all_failed")


class Edges:
    """What the steps of a tree wait for. To be made when all expressions were read."""

    def __init__(self, tree: Tree, faults: Faults) -> None:
        self._tree = tree
        self._faults = faults
        self._explicit: dict[Node, dict[int, Condition | None]] = {}
        self._dependencies: dict[Node, tuple[int, ...]] = {}
        self._successors: dict[Node, tuple[int, ...]] = {}
        self._asked: set[int] = set()
        for node in tree.nodes:
            explicit = self._read(node) if node.whole and node.kind == "step" else {}
            self._explicit[node] = explicit
            found = {*explicit, *(other.position for other in node.reads)} if node.kind == "step" else ()
            self._dependencies[node] = tuple(sorted(found))
        self._check_sizes()
        for scope in tree.scopes:
            first = scope.nodes[0].position if scope.nodes else 0
            for node, waiting in zip(scope.steps, graph.successors(self._local(scope)), strict=True):
                self._successors[node] = tuple(first + other for other in waiting)

    def dependencies(self, node: Node) -> tuple[int, ...]:
        """Positions of the steps that it waits for, ascending."""
        return self._dependencies[node]

    def ordering(self, node: Node) -> tuple[int, ...]:
        """Those of them that expressions brought alone."""
        return tuple(other for other in self._dependencies[node] if other not in self._explicit[node])

    def successors(self, node: Node) -> tuple[int, ...]:
        """Positions of the steps that wait for it, ascending."""
        return self._successors.get(node, ())

    def conditions(self, node: Node) -> dict[int, Condition]:
        return {position: wanted for position, wanted in self._explicit[node].items() if wanted is not None}

    def asked(self, node: Node) -> bool:
        """Whether a step behind it asks for its failure."""
        return node.position in self._asked

    def cycle(self) -> CircularDependency | None:
        """Steps of one scope that wait for each other in a circle, at the place of the first edge."""
        for scope in self._tree.scopes:
            steps = scope.steps
            if cycle := graph.find_cycle(self._local(scope)):
                first, second = steps[cycle[0]], steps[cycle[1 % len(cycle)]]
                pointer = first.record.pointer
                if second.position in self._explicit[first]:
                    pointer = join(pointer, "depends_on")
                return CircularDependency([steps[index].record.id for index in (*cycle, cycle[0])], pointer)
        return None

    def _local(self, scope: ScopeNode) -> list[list[int]]:
        """The dependencies of the steps of a scope, counted from its first."""
        steps = scope.steps
        first = steps[0].position if steps else 0
        return [[other - first for other in self._dependencies[node]] for node in steps]

    def _read(self, node: Node) -> dict[int, Condition | None]:
        found: dict[int, Condition | None] = {}
        rule = node.record.rule
        for edge in node.record.edges:
            target = node.scope.by_alias.get(step_alias(edge.step))
            if target is None or target.record.id != edge.step:
                self._unknown(edge, node.scope)
                continue
            found[target.position] = edge.condition
            if edge.condition is not None:
                self._check_cases(edge, edge.condition, target)
            on = edge.condition.on if edge.condition is not None else ()
            if "failed" in on or (rule is not None and rule.name in _ASKING_RULES):
                self._asked.add(target.position)
        return found

    def _unknown(self, edge: Edge, scope: ScopeNode) -> None:
        if self._faults.full:
            return
        outside = scope.find(step_alias(edge.step))
        if outside is not None and outside.record.id == edge.step:
            around = scope.parent.record.id if scope.parent is not None else ""
            message = f"{clipped(edge.step)} stands outside of {clipped(around)}, which is what can wait for it"
        else:
            ids = [node.record.id for node in scope.by_alias.values()]
            message = f"there is no step {clipped(edge.step)}{did_you_mean(edge.step, ids)}"
        self._faults.add(edge.place, "unknown-dependency", message)

    def _check_cases(self, edge: Edge, condition: Condition, target: Node) -> None:
        if not condition.cases:
            return
        place = join(edge.place, "case")
        switch = target.record.switch
        if switch is None:
            message = f"{clipped(edge.step)} is a {target.record.type} and has no cases: only a switch has"
            self._faults.add(place, "unknown-dependency", message)
            return
        known = dict.fromkeys((*(case.id for case in switch.cases), switch.default))
        for case in condition.cases:
            if case not in known:
                hint = did_you_mean(case, known) or f"; it has {', '.join(known)}"
                self._faults.add(place, "unknown-dependency", f"the switch has no case {clipped(case)}{hint}")

    def _check_sizes(self) -> None:
        edges = sum(len(needed) for needed in self._dependencies.values())
        if edges > MAX_EDGES:
            message = f"have {edges:,} dependencies in all, {MAX_EDGES:,} are allowed"
            self._faults.add("/steps", "too-many-edges", message)
        for node, needed in self._dependencies.items():
            if len(needed) > MAX_DEPENDENCIES:
                message = f"depends on {len(needed):,} steps, {MAX_DEPENDENCIES:,} are allowed"
                self._faults.add(node.record.pointer, "too-many-dependencies", message)
