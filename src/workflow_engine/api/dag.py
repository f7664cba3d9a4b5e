"""The graph of a workflow or definition: its steps with their states, who waits for whom, the longest way through."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from workflow_engine.api.dag_nodes import Node, nodes_of
from workflow_engine.definition.drawing.picture import UNREACHED, Box, Picture, said
from workflow_engine.definition.graph import critical_path
from workflow_engine.records import GraphNode

AT_ONCE = 60
"""Steps up to which working out a graph keeps nobody waiting; with more it is to be done in a thread."""


class Dag:
    """A graph to be shown as data or as a picture.

    Args:
        title: What it is the graph of.
        steps: In the order of the definition.
        cycles: Workflows that wait for each other, by id.
    """

    def __init__(self, title: str, steps: Sequence[GraphNode], cycles: Sequence[Sequence[str]] = ()) -> None:
        self._title = title
        self._nodes = nodes_of(steps)
        self._cycles = cycles
        self._position = {node.id: n for n, node in enumerate(self._nodes)}
        own = [node for node in self._nodes if node.parent is None and node.step.kind == "step"]
        among = {node.id: n for n, node in enumerate(own)}  # what is inside is part of the time of what is around
        needed = [[among[other] for other in node.needed] for node in own]
        self._critical = [own[n].id for n in critical_path(needed, _weights(own))]

    def data(self) -> dict[str, Any]:
        """As JSON data.

        `critical_path` is the way from a first to a last step that takes longest by the times known so far; where they
        tell nothing, the one with the most steps. `waiting_on` names, for each blocked step, the steps that have not
        ended, and for each held one its locks and limits.
        """
        open_ = {node.id for node in self._nodes if node.is_open}
        waiting_on = {
            node.id: [other for other in node.needed if other in open_] + node.waits
            for node in self._nodes
            if node.is_open
        }
        return {
            "nodes": [_node(node) for node in self._nodes],
            "edges": [{"from": other, "to": node.id} for node in self._nodes for other in node.needed],
            "cycles": [list(cycle) for cycle in self._cycles],
            "critical_path": self._critical,
            "waiting_on": {step: waits for step, waits in waiting_on.items() if waits},
        }

    def picture(self) -> Picture:
        """As something to draw."""
        behind = [[self._position[other] for other in node.behind] for node in self._nodes]
        return Picture(
            self._title, [_box(node) for node in self._nodes], behind, [self._position[id_] for id_ in self._critical]
        )


def _weights(nodes: Sequence[Node]) -> list[float]:
    """Seconds so far; and for every step so little more that among equals the way with more steps wins."""
    now = datetime.now(UTC)
    times = [(node.step.started_at, node.step.finished_at) for node in nodes]
    return [1e-9 + (0.0 if begun is None else max(((end or now) - begun).total_seconds(), 0.0)) for begun, end in times]


def _node(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "type": node.step.type,
        "status": node.status,
        "upstream_failed": node.is_unreached,
        "task_id": None if node.step.task_id is None else str(node.step.task_id),
        "attempt": node.step.attempt,
        "started_at": node.step.started_at,
        "finished_at": node.step.finished_at,
        "kind": node.step.kind,
        "parent": node.parent,
        "repeats": node.repeats,
        "counts": node.counts,
    }


def _box(node: Node) -> Box:
    notes = [node.repeats] if node.repeats else []
    if node.waits:
        notes.append(f"waits for {', '.join(node.waits)}")
    if node.counts:
        counts = {**node.counts, "failed": node.counts.get("failed", 0) - node.unreached, UNREACHED: node.unreached}
        notes.append(", ".join(f"{count} {said(kind)}" for kind, count in sorted(counts.items()) if count))
    elif node.repeats and node.status:
        notes.append(said(UNREACHED if node.is_unreached else node.status))
    return Box(node.id, node.step.type, node.status, " · ".join(notes) or None, node.is_unreached)
