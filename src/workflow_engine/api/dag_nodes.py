"""What a graph shows of the steps of a version: one node each, whatever the number of their tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workflow_engine.records import GraphNode
from workflow_engine.states import TaskStatus

MAX_NODES = 300
"""With more, steps inside others are left out."""

# What tells most of several tasks comes first.
_TELLING = ("running", "pending", "scheduled", "waiting", "blocked", "failed", "cancelled", "succeeded", "skipped")


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    Attributes:
        id: The step's path without numbers: `process.fetch` for what `process[3].fetch` is a task of.
        parent: Id of the node of the step that it stands in.
        status: Of its task; of several what tells most.
        counts: By status, of a step that repeats its items or iterations, of one inside such a step its tasks.
        unreached: How many of the counted ones that failed did so because a step before them failed, without running.
        needed: Ids of the nodes before it.
        behind: Those it is drawn behind: the same, or else the step that it undoes or stands in.
    """

    id: str
    step: GraphNode
    parent: str | None
    status: TaskStatus | None
    counts: Mapping[str, int] | None
    unreached: int
    needed: Sequence[str]
    behind: Sequence[str]
    repeats: str | None

    @property
    def waits(self) -> list[str]:
        return sorted(set((self.step.waits or "").split()))

    @property
    def is_unreached(self) -> bool:
        """Nothing of it failed but because a step before it did."""
        failed = (self.step.counts or {}).get(TaskStatus.FAILED, 0)
        return self.status == TaskStatus.FAILED and self.step.unreached == failed

    @property
    def is_open(self) -> bool:
        return self.status is not None and not self.status.terminal


def nodes_of(steps: Sequence[GraphNode]) -> list[Node]:
    """The nodes of a version or workflow, in the order of the definition; what repeats a step is one with it."""
    found = _Nodes(steps).nodes()
    return found if len(found) <= MAX_NODES else [node for node in found if node.parent is None]


class _Nodes:
    def __init__(self, steps: Sequence[GraphNode]) -> None:
        self._steps = {step.position: step for step in steps}
        self._bodies = {step.parent_step: step for step in steps if step.body}
        self._undone = {step.compensation: step.position for step in steps if step.compensation is not None}
        self._ids: dict[int, str] = {}
        taken: set[str] = set()
        for step in steps:
            if not step.body:
                path, number = self._path(step), 1
                while path in taken:  # two catches of one step may have steps of the same id
                    number += 1
                    path = f"{self._path(step)}#{number}"
                taken.add(path)
                self._ids[step.position] = path

    def nodes(self) -> list[Node]:
        return [self._node(self._steps[position]) for position in self._ids]

    def _node(self, step: GraphNode) -> Node:
        outer = self._outer(step)
        body = self._bodies.get(step.position)
        counts = step.counts or {}
        several = sum(counts.values()) > 1 or (outer is not None and outer.position in self._bodies)
        needed = [self._ids[d] for d in step.dependencies if d in self._ids]
        undone = self._undone.get(step.position)
        before = needed or [self._ids[p] for p in (undone, outer and outer.position) if p in self._ids][:1]
        return Node(
            id=self._ids[step.position],
            step=step,
            parent=None if outer is None else self._ids[outer.position],
            status=next((TaskStatus(status) for status in _TELLING if status in counts), None),
            counts=body.counts if body is not None else counts if several else None,
            unreached=(body or step).unreached or 0,
            needed=needed,
            behind=before,
            repeats=None if body is None else self._repeated(body),
        )

    def _repeated(self, body: GraphNode) -> str:
        inner = self._bodies.get(body.position)
        return body.type if inner is None else self._repeated(inner)

    def _path(self, step: GraphNode) -> str:
        outer = self._outer(step)
        if outer is None:
            return step.step
        return f"{self._path(outer)}.{'catch.' if step.scope_kind == 'catch' else ''}{step.step}"

    def _outer(self, step: GraphNode) -> GraphNode | None:
        """The step that has a node around this one."""
        outer = None if step.parent_step is None else self._steps.get(step.parent_step)
        return self._outer(outer) if outer is not None and outer.body else outer
