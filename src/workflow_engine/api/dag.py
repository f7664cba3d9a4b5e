"""The graph of a workflow: its steps with their states, who waits for whom, and the longest way through."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from typing import Any

from workflow_engine.records import GraphNode
from workflow_engine.states import TaskStatus


def dag(nodes: Sequence[GraphNode]) -> dict[str, Any]:
    """As JSON data.

    `critical_path` is the way from a first to a last step that takes longest by the times known so far; where they tell
    nothing, the one with the most steps. `waiting_on` names, for each blocked step, the steps that have not ended.
    `cycles` is always empty: a definition with a cycle is refused.
    """
    status = {node.step: TaskStatus(node.status) for node in nodes}
    return {
        "nodes": [
            {
                "id": node.step,
                "type": node.type,
                "status": node.status,
                "task_id": str(node.task_id),
                "attempt": node.attempt,
                "started_at": node.started_at,
                "finished_at": node.finished_at,
            }
            for node in nodes
        ],
        "edges": [{"from": needed, "to": node.step} for node in nodes for needed in node.dependencies],
        "cycles": [],
        "critical_path": _critical_path(nodes, datetime.now(UTC)),
        "waiting_on": {
            node.step: [needed for needed in node.dependencies if not status[needed].terminal]
            for node in nodes
            if node.status == TaskStatus.BLOCKED
        },
    }


def _critical_path(nodes: Sequence[GraphNode], now: datetime) -> list[str]:
    by_step = {node.step: node for node in nodes}
    longest: dict[str, tuple[float, int]] = {}  # seconds and steps up to and including a step
    before: dict[str, str | None] = {}
    for step in TopologicalSorter({node.step: node.dependencies for node in nodes}).static_order():
        node = by_step[step]
        seconds = 0.0
        if node.started_at is not None:
            seconds = max(((node.finished_at or now) - node.started_at).total_seconds(), 0.0)
        before[step] = max(node.dependencies, key=lambda needed: longest[needed], default=None)
        reached, count = longest.get(before[step] or "", (0.0, 0))
        longest[step] = (reached + seconds, count + 1)
    path: list[str] = []
    step_: str | None = max(longest, key=lambda step: longest[step], default=None)
    while step_ is not None:
        path.append(step_)
        step_ = before[step_]
    return path[::-1]
