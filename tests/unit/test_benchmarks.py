"""The arithmetic and the shapes of the benchmarks; what they measure is not tested."""

from __future__ import annotations

import pytest

from benchmarks import definitions
from benchmarks.report import Figure
from benchmarks.scraping import quantile
from benchmarks.workload import Load


def test_a_quantile_of_turns_lies_between_the_bounds_of_its_bucket_and_counts_only_what_came_since() -> None:
    before = {0.01: 100.0, 0.1: 100.0, float("inf"): 100.0}
    after = {0.01: 150.0, 0.1: 200.0, float("inf"): 200.0}
    assert quantile(before, after, 0.25) == pytest.approx(0.005)
    assert quantile(before, after, 0.75) == pytest.approx(0.055)
    assert quantile(after, after, 0.5) is None


def test_a_ratio_is_that_of_the_rounds_so_that_a_slow_one_slows_both_sides() -> None:
    one, other = Figure("one", "s", [2.0, 20.0, 2.0]), Figure("other", "s", [1.0, 10.0, 1.0])
    assert one.ratio_to(other) == 2.0


def test_shapes_have_the_steps_and_depth_that_their_names_promise() -> None:
    loads = [
        Load.of("map", definitions.map_of(2000), 2, items=2000),
        Load.of("layered", definitions.layered(10, 20, 20), 1),
        Load.of("montage", definitions.montage(25), 1),
        Load.of("epigenomics", definitions.epigenomics(24), 1),
        Load.of("inspiral", definitions.inspiral(3, 8), 1),
    ]
    assert [load.steps for load in loads] == [4002, 200, 103, 100, 102]
    layers = definitions.layered(3, 4, 2).plan.steps
    assert [len(step.dependencies) for step in layers] == [0] * 4 + [2] * 8
