"""The graph of a definition: steps are positions, `dependencies[i]` are the positions that step i waits for.

All functions are deterministic, iterative and linear in steps and edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Dependencies: TypeAlias = Sequence[Sequence[int]]


def successors(dependencies: Dependencies) -> list[list[int]]:
    """For each step the steps that wait for it, ascending."""
    waiting: list[list[int]] = [[] for _ in dependencies]
    for step, needed in enumerate(dependencies):
        for other in needed:
            waiting[other].append(step)
    return waiting


def topological_order(dependencies: Dependencies) -> list[int]:
    """The steps so that each comes after all it waits for. Steps on a cycle, and those behind it, are missing."""
    waiting = successors(dependencies)
    open_dependencies = [len(needed) for needed in dependencies]
    order = [step for step, count in enumerate(open_dependencies) if count == 0]
    for step in order:  # grows while it is walked
        for other in waiting[step]:
            open_dependencies[other] -= 1
            if open_dependencies[other] == 0:
                order.append(other)
    return order


def find_cycle(dependencies: Dependencies) -> list[int] | None:
    """Some steps that wait for each other in a circle: each waits for the next, the last for the first.

    Returns:
        The steps, beginning with the smallest position and without repeating it; None if there is no circle.
    """
    stuck = set(range(len(dependencies))).difference(topological_order(dependencies))
    if not stuck:
        return None
    # Every stuck step waits for another stuck one, so following those must come back to a step already met.
    position: dict[int, int] = {}
    walk: list[int] = []
    step = min(stuck)
    while step not in position:
        position[step] = len(walk)
        walk.append(step)
        step = next(other for other in dependencies[step] if other in stuck)
    cycle = walk[position[step] :]
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]


def ancestors(dependencies: Dependencies, step: int) -> set[int]:
    """All steps that must have ended before this one starts; on a cycle, itself among them."""
    found: set[int] = set()
    open_steps = list(dependencies[step])
    while open_steps:
        other = open_steps.pop()
        if other not in found:
            found.add(other)
            open_steps.extend(dependencies[other])
    return found


def critical_path(dependencies: Dependencies, weights: Mapping[int, float] | Sequence[float]) -> list[int]:
    """The chain of steps with the greatest sum of weights, such as durations: what the whole cannot be faster than.

    Args:
        dependencies: Without a cycle; steps on one, and behind it, are left out.
        weights: Of every step, >= 0.

    Returns:
        The steps from first to last. Of equal chains the one with the smaller positions wins.
    """
    total: dict[int, float] = {}
    before: dict[int, int | None] = {}
    for step in topological_order(dependencies):
        before[step] = max(dependencies[step], key=lambda other: (total[other], -other), default=None)
        previous = before[step]
        total[step] = weights[step] + (0.0 if previous is None else total[previous])
    path: list[int] = []
    last = max(total, key=lambda step: (total[step], -step), default=None)
    while last is not None:
        path.append(last)
        last = before[last]
    return path[::-1]
