"""The graph: order, cycles, the longest chain; held against plain, slow models."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from workflow_engine.definition import graph

Graph = list[list[int]]


@st.composite
def graphs(draw: st.DrawFn, *, acyclic: bool = False) -> Graph:
    """Any graph of up to 9 steps; acyclic ones have their steps in random order."""
    size = draw(st.integers(0, 9))
    edges = draw(st.sets(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=20))
    names = draw(st.permutations(range(size)))
    dependencies: Graph = [[] for _ in range(size)]
    for step, other in sorted(edges):
        if step < size and other < size and (not acyclic or other < step):
            dependencies[names[step]].append(names[other])
    return [sorted(needed) for needed in dependencies]


def reachable(dependencies: Graph) -> list[set[int]]:
    """For each step all it waits for, directly or not: by repetition until nothing changes."""
    found = [set(needed) for needed in dependencies]
    for _ in dependencies:
        for known in found:
            known |= {further for other in known for further in found[other]}
    return found


@given(graphs())
def test_a_cycle_is_found_exactly_when_a_step_waits_for_itself(dependencies: Graph) -> None:
    has_cycle = any(step in behind for step, behind in enumerate(reachable(dependencies)))
    assert (graph.find_cycle(dependencies) is not None) == has_cycle


@given(graphs())
def test_a_cycle_is_a_closed_walk_from_its_smallest_step(dependencies: Graph) -> None:
    cycle = graph.find_cycle(dependencies)
    if cycle is None:
        return
    assert all(other in dependencies[step] for step, other in pairwise([*cycle, cycle[0]]))
    assert len(set(cycle)) == len(cycle)
    assert cycle[0] == min(cycle)


@given(graphs(acyclic=True))
def test_the_order_has_every_step_after_what_it_waits_for(dependencies: Graph) -> None:
    order = graph.topological_order(dependencies)
    assert sorted(order) == list(range(len(dependencies)))
    at = {step: position for position, step in enumerate(order)}
    assert all(at[other] < at[step] for step, needed in enumerate(dependencies) for other in needed)


@given(graphs())
def test_ancestors_are_all_that_can_be_reached(dependencies: Graph) -> None:
    assert [graph.ancestors(dependencies, step) for step in range(len(dependencies))] == reachable(dependencies)


@given(graphs())
def test_successors_turn_every_edge_around(dependencies: Graph) -> None:
    waiting = graph.successors(dependencies)
    assert {(o, s) for s, needed in enumerate(dependencies) for o in needed} == {
        (o, s) for o, later in enumerate(waiting) for s in later
    }


@given(graphs(acyclic=True), st.lists(st.integers(0, 5), min_size=9, max_size=9))
def test_the_critical_path_is_a_chain_that_no_other_outweighs(dependencies: Graph, weights: list[int]) -> None:
    def heaviest(step: int) -> int:
        return weights[step] + max((heaviest(other) for other in dependencies[step]), default=0)

    path = graph.critical_path(dependencies, weights)
    assert all(earlier in dependencies[later] for earlier, later in pairwise(path))
    assert sum(weights[step] for step in path) == max(map(heaviest, range(len(dependencies))), default=0)


def test_a_long_chain_needs_no_recursion() -> None:
    chain = [[step - 1] if step else [] for step in range(50_000)]
    assert graph.find_cycle(chain) is None
    assert len(graph.critical_path(chain, [1] * len(chain))) == len(chain)
    chain[0] = [49_999]
    assert len(graph.find_cycle(chain) or []) == len(chain)


def test_a_ring_is_found_whole() -> None:
    assert graph.find_cycle([[1], [2], [0]]) == [0, 1, 2]
    assert graph.find_cycle([[], [0, 3], [1], [2]]) == [1, 3, 2]
    assert graph.find_cycle([[0]]) == [0]
