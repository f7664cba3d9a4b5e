"""Circles in a wait-for graph."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol, TypeVar


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...
    def __hash__(self) -> int: ...


T = TypeVar("T", bound=_Ordered)


def find_cycles(waits: Mapping[T, Collection[T]]) -> list[tuple[T, ...]]:
    """Circles that together have everyone who is on any: each waits for the next, the last for the first.

    Pure and deterministic. There may be exponentially many circles; for everyone who is not on one found before, this
    takes a shortest.

    Args:
        waits: For whom each one waits.

    Returns:
        The circles, each beginning with its smallest member, in order.
    """
    graph = _without_loose_ends(waits)
    found: set[tuple[T, ...]] = set()
    covered: set[T] = set()
    for start in sorted(graph):
        if start not in covered and (cycle := _shortest_cycle(graph, start)):
            first = cycle.index(min(cycle))
            found.add((*cycle[first:], *cycle[:first]))
            covered.update(cycle)
    return sorted(found)


def _without_loose_ends(waits: Mapping[T, Collection[T]]) -> dict[T, list[T]]:
    """The graph without those who wait for nobody, or for whom nobody waits, again and again."""
    graph = {waiter: sorted(set(holders)) for waiter, holders in waits.items()}
    while True:
        wanted = {holder for holders in graph.values() for holder in holders}
        kept = {
            waiter: inside
            for waiter, holders in graph.items()
            if waiter in wanted and (inside := [holder for holder in holders if holder in graph])
        }
        if kept == graph:
            return kept
        graph = kept


def _shortest_cycle(graph: Mapping[T, Iterable[T]], start: T) -> list[T] | None:
    before: dict[T, T] = {}
    open_ = deque([start])
    while open_:
        waiter = open_.popleft()
        for holder in graph[waiter]:
            if holder == start:
                path = [waiter]
                while path[-1] != start:
                    path.append(before[path[-1]])
                return path[::-1]
            if holder not in before:
                before[holder] = waiter
                open_.append(holder)
    return None
