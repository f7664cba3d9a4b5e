"""The layout of graphs: nothing overlaps, everything points to the right, and equal graphs look equal."""

from __future__ import annotations

import random
import time
from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_engine.definition.drawing.layout import Layout, Metrics, lay_out

METRICS = Metrics()


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    """Dependencies without a cycle: a step waits for some of those before it, then all are shuffled."""
    count = draw(st.integers(0, 25))
    forward = [sorted(draw(st.sets(st.integers(0, step - 1), max_size=4))) if step else [] for step in range(count)]
    new = draw(st.permutations(range(count)))
    shuffled: list[list[int]] = [[] for _ in range(count)]
    for step, needed in enumerate(forward):
        shuffled[new[step]] = sorted(new[other] for other in needed)
    return shuffled


def laid_out(dependencies: list[list[int]]) -> Layout:
    return lay_out(dependencies, [100.0 + 7 * (n % 5) for n in range(len(dependencies))])


@given(graphs())
@settings(max_examples=200, deadline=None)
def test_boxes_do_not_overlap_and_lie_on_the_canvas(dependencies: list[list[int]]) -> None:
    layout = laid_out(dependencies)

    boxes = list(zip(layout.corners, layout.widths, strict=True))
    for ((x, y), width), ((x2, y2), width2) in combinations(boxes, 2):
        apart_x = x + width + METRICS.column_gap <= x2 + 0.01 or x2 + width2 + METRICS.column_gap <= x + 0.01
        apart_y = abs(y - y2) >= METRICS.height + METRICS.gap - 0.01
        assert apart_x or apart_y
    for (x, y), width in boxes:
        assert x >= METRICS.margin - 0.01
        assert y >= METRICS.margin - 0.01
        assert x + width <= layout.size[0] - METRICS.margin + 0.01
        assert y + METRICS.height <= layout.size[1] - METRICS.margin + 0.01


@given(graphs())
@settings(max_examples=200, deadline=None)
def test_edges_go_from_left_to_right_and_through_no_box(dependencies: list[list[int]]) -> None:
    layout = laid_out(dependencies)

    assert set(layout.paths) == {(needed, step) for step, others in enumerate(dependencies) for needed in others}
    for (needed, step), points in layout.paths.items():
        assert layout.ranks[needed] < layout.ranks[step]
        assert all(a[0] < b[0] for a, b in pairwise(points))
        (x, y), width = layout.corners[needed], layout.widths[needed]
        assert points[0] == (x + width, y + METRICS.height / 2)
        assert points[-1] == (layout.corners[step][0], layout.corners[step][1] + METRICS.height / 2)
        for passing in points[1:-1]:
            for (bx, by), bwidth in zip(layout.corners, layout.widths, strict=True):
                inside_x = bx <= passing[0] <= bx + bwidth
                assert not inside_x or not by < passing[1] < by + METRICS.height


@given(graphs())
@settings(max_examples=50, deadline=None)
def test_equal_graphs_look_equal(dependencies: list[list[int]]) -> None:
    assert laid_out(dependencies) == laid_out([list(needed) for needed in dependencies])


def test_a_rank_is_the_longest_way_from_a_start() -> None:
    assert laid_out([[], [0], [0, 1], [0, 2]]).ranks == [0, 1, 2, 3]


def test_a_chain_is_a_straight_line() -> None:
    layout = laid_out([[], [0], [1], [2]])
    assert len({y for _, y in layout.corners}) == 1


def test_two_crossed_pairs_are_uncrossed() -> None:
    layout = laid_out([[], [], [1], [0]])
    assert (layout.corners[0][1] < layout.corners[1][1]) == (layout.corners[3][1] < layout.corners[2][1])


def test_the_largest_drawing_takes_seconds_at_most() -> None:
    chosen = random.Random(1)
    dependencies = [sorted({chosen.randrange(step) for _ in range(5)}) if step else [] for step in range(2000)]
    begun = time.perf_counter()
    lay_out(dependencies, [100.0] * 2000)
    assert time.perf_counter() - begun < 20
