"""The graph of a workflow or definition: its steps with their states, who waits for whom, the longest way through."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from workflow_engine.definition.drawing.picture import Box, Picture
from workflow_engine.definition.graph import critical_path
from workflow_engine.records import GraphNode
from workflow_engine.states import TaskStatus


class Dag:
    """A graph to be shown as data or as a picture.

    Args:
        title: What it is the graph of.
        nodes: In the order of the definition.
        cycles: Workflows that wait for each other, by id.
    """

    def __init__(self, title: str, nodes: Sequence[GraphNode], cycles: Sequence[Sequence[str]] = ()) -> None:
        self._title = title
        self._nodes = nodes
        self._cycles = cycles
        position = {node.step: n for n, node in enumerate(nodes)}
        self._dependencies = [[position[needed] for needed in node.dependencies] for node in nodes]
        self._critical = critical_path(self._dependencies, _weights(nodes))

    def data(self) -> dict[str, Any]:
        """As JSON data.

        `critical_path` is the way from a first to a last step that takes longest by the times known so far; where they
        tell nothing, the one with the most steps. `waiting_on` names, for each blocked step, the steps that have not
        ended, and for each held one its locks and limits.
        """
        open_ = {node.step for node in self._nodes if node.status and not TaskStatus(node.status).terminal}
        waiting_on = {
            node.step: [needed for needed in node.dependencies if needed in open_] + node.waits
            for node in self._nodes
            if node.step in open_
        }
        return {
            "nodes": [_node(node) for node in self._nodes],
            "edges": [{"from": needed, "to": node.step} for node in self._nodes for needed in node.dependencies],
            "cycles": [list(cycle) for cycle in self._cycles],
            "critical_path": [self._nodes[n].step for n in self._critical],
            "waiting_on": {step: waits for step, waits in waiting_on.items() if waits},
        }

    def picture(self) -> Picture:
        """As something to draw."""
        return Picture(self._title, [_box(node) for node in self._nodes], self._dependencies, self._critical)


def _weights(nodes: Sequence[GraphNode]) -> list[float]:
    """Seconds so far; and for every step so little more that among equals the way with more steps wins."""
    now = datetime.now(UTC)
    return [
        1e-9 + (0.0 if n.started_at is None else max(((n.finished_at or now) - n.started_at).total_seconds(), 0.0))
        for n in nodes
    ]


def _node(node: GraphNode) -> dict[str, Any]:
    return {
        "id": node.step,
        "type": node.type,
        "status": node.status,
        "task_id": None if node.task_id is None else str(node.task_id),
        "attempt": node.attempt,
        "started_at": node.started_at,
        "finished_at": node.finished_at,
    }


def _box(node: GraphNode) -> Box:
    note = f"waits for {', '.join(node.waits)}" if node.waits else None
    return Box(node.step, node.type, None if node.status is None else TaskStatus(node.status), note)
