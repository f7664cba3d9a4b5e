"""Circles in a wait-for graph."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_engine.store.cycles import find_cycles

GRAPHS = st.dictionaries(st.integers(0, 9), st.sets(st.integers(0, 9), max_size=4), max_size=10)


@pytest.mark.parametrize(
    ("waits", "cycles"),
    [
        ({}, []),
        ({1: [2], 2: [3]}, []),
        ({2: [1], 1: [2]}, [(1, 2)]),
        ({1: [2], 2: [3], 3: [1], 4: [1], 5: [4]}, [(1, 2, 3)]),  # who waits for a circle is not on it
        ({1: [2], 2: [1], 3: [4], 4: [3]}, [(1, 2), (3, 4)]),
        ({1: [2, 3], 2: [1], 3: [1]}, [(1, 2), (1, 3)]),  # both who wait for 1 are told
        ({1: [1]}, [(1,)]),
    ],
)
def test_circles_are_found_each_beginning_with_its_smallest(
    waits: dict[int, list[int]], cycles: list[tuple[int, ...]]
) -> None:
    assert find_cycles(waits) == cycles


@given(GRAPHS)
def test_every_circle_found_is_one_and_everyone_who_is_on_any_is_found(waits: dict[int, set[int]]) -> None:
    found = find_cycles(waits)
    for cycle in found:
        assert len(set(cycle)) == len(cycle)
        assert cycle[0] == min(cycle)
        assert all(after in waits[before] for before, after in zip(cycle, (*cycle[1:], cycle[0]), strict=True))
    assert {member for cycle in found for member in cycle} == {one for one in waits if _reaches(waits, one, one)}


@given(GRAPHS)
def test_the_same_graph_has_the_same_circles_however_it_is_written(waits: dict[int, set[int]]) -> None:
    assert find_cycles(dict(reversed(waits.items()))) == find_cycles(waits)


def _reaches(waits: dict[int, set[int]], start: int, goal: int) -> bool:
    seen: set[int] = set()
    open_ = [start]
    while open_:
        for other in waits.get(open_.pop(), set()):
            if other == goal:
                return True
            if other not in seen:
                seen.add(other)
                open_.append(other)
    return False
