"""Where the boxes of a graph stand: in columns from left to right, each step right of all it waits for.

The usual four moves (Sugiyama): ranks by the longest way from a start; edges over several ranks get a bend in each rank
between; the order within a rank by barycentres, swept to and fro, the one with the fewest crossings kept; then heights
that bring neighbours level, as near as the order and the gaps allow. Deterministic: equal graphs look equal.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from workflow_engine.definition.graph import Dependencies, topological_order

_SWEEPS = 8
_LEVELLINGS = 6
_MAX_BENDS = 20_000  # beyond that long edges go straight, through boxes if need be
_MAX_COUNTED = 20_000  # edges up to which crossings are counted to choose the best order

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Metrics:
    """Distances, in the units of the drawing."""

    height: float = 44  # of a box
    gap: float = 16  # between boxes of one column
    bend_gap: float = 10  # beside an edge that passes
    column_gap: float = 56
    margin: float = 16


@dataclass(frozen=True, slots=True)
class Layout:
    """Attributes:
    ranks: Column of each box.
    corners: Upper left corner of each box.
    widths: Of each box.
    paths: For each edge (needed, step) the points it goes through, from the right side of one box to the left side of
        the other. Between an even and the following odd point it crosses the gap between two columns.
    size: Width and height of the whole.
    """

    ranks: list[int]
    corners: list[Point]
    widths: list[float]
    paths: dict[tuple[int, int], list[Point]]
    size: Point


@dataclass(slots=True)
class _Place:
    """A box, or a bend of an edge, in one rank."""

    rank: int
    box: int | None  # None: a bend
    left: list[int] = field(default_factory=list)  # places in the rank before it is joined to
    right: list[int] = field(default_factory=list)
    y: float = 0.0  # of its middle


def lay_out(dependencies: Dependencies, widths: Sequence[float], metrics: Metrics = Metrics()) -> Layout:
    """Place boxes of these widths, one for each step of a graph without cycles."""
    ranks = _ranks(dependencies)
    places, chains = _places(dependencies, ranks)
    columns = _ordered(places)
    _level(places, columns, metrics)
    # Every box of a column is as wide as the widest: edges then begin and end in straight lines.
    wide = [0.0] * len(columns)
    for step, rank in enumerate(ranks):
        wide[rank] = max(wide[rank], widths[step])
    lefts = [metrics.margin]
    for width in wide:
        lefts.append(lefts[-1] + width + metrics.column_gap)
    paths = {
        edge: [
            point
            for n, place in enumerate(chain)
            for point in _through(places[place], lefts, wide, first=n == 0, last=n == len(chain) - 1)
        ]
        for edge, chain in chains.items()
    }
    height = max((place.y for place in places), default=0.0) + metrics.height / 2 + metrics.margin
    return Layout(
        ranks,
        [(lefts[rank], places[step].y - metrics.height / 2) for step, rank in enumerate(ranks)],
        [wide[rank] for rank in ranks],
        paths,
        (lefts[-1] - metrics.column_gap + metrics.margin if columns else 2 * metrics.margin, height),
    )


def _through(place: _Place, lefts: list[float], wide: list[float], *, first: bool, last: bool) -> list[Point]:
    enters, leaves = (lefts[place.rank], place.y), (lefts[place.rank] + wide[place.rank], place.y)
    return [leaves] if first else [enters] if last else [enters, leaves]


def _ranks(dependencies: Dependencies) -> list[int]:
    ranks = [0] * len(dependencies)
    for step in topological_order(dependencies):
        ranks[step] = max((ranks[needed] + 1 for needed in dependencies[step]), default=0)
    return ranks


def _places(dependencies: Dependencies, ranks: list[int]) -> tuple[list[_Place], dict[tuple[int, int], list[int]]]:
    """The boxes, then the bends; and for each edge the places it goes through."""
    places = [_Place(rank, step) for step, rank in enumerate(ranks)]
    edges = [(needed, step) for step, others in enumerate(dependencies) for needed in others]
    bent = sum(ranks[step] - ranks[needed] - 1 for needed, step in edges) <= _MAX_BENDS
    chains: dict[tuple[int, int], list[int]] = {}
    for needed, step in edges:
        chain = [needed]
        if bent:
            for rank in range(ranks[needed] + 1, ranks[step]):
                chain.append(len(places))
                places.append(_Place(rank, None))
        chain.append(step)
        chains[needed, step] = chain
        for one, next_ in pairwise(chain):
            if places[next_].rank == places[one].rank + 1:
                places[one].right.append(next_)
                places[next_].left.append(one)
    return places, chains


def _ordered(places: list[_Place]) -> list[list[int]]:
    """The places of each rank from top to bottom."""
    columns: list[list[int]] = [[] for _ in range(max((place.rank for place in places), default=-1) + 1)]
    for index, place in enumerate(places):
        columns[place.rank].append(index)
    counted = sum(len(place.right) for place in places) <= _MAX_COUNTED
    best, fewest = columns, _crossings(places, columns) if counted else 0
    for sweep in range(_SWEEPS):
        if counted and fewest == 0:
            break
        columns = [list(column) for column in columns]
        forward = sweep % 2 == 0
        position = _positions(columns, len(places))
        for column in columns if forward else reversed(columns):
            _sort_by_barycentre(column, position, lambda p: places[p].left if forward else places[p].right)  # noqa: B023
            for at, index in enumerate(column):
                position[index] = at
        crossings = _crossings(places, columns) if counted else 0
        if crossings < fewest or not counted:
            best, fewest = columns, crossings
    return best


def _sort_by_barycentre(column: list[int], position: list[int], joined: Callable[[int], list[int]]) -> None:
    """Those that are joined to nothing on that side keep their places; the sort is stable."""
    free = [n for n, place in enumerate(column) if joined(place)]
    sorted_ = sorted(
        (column[n] for n in free), key=lambda place: sum(position[o] for o in joined(place)) / len(joined(place))
    )
    for n, place in zip(free, sorted_, strict=True):
        column[n] = place


def _positions(columns: list[list[int]], count: int) -> list[int]:
    position = [0] * count
    for column in columns:
        for at, place in enumerate(column):
            position[place] = at
    return position


def _crossings(places: list[_Place], columns: list[list[int]]) -> int:
    position = _positions(columns, len(places))
    total = 0
    for column in columns:
        seen: list[int] = []  # where the edges so far end, ascending
        for place in column:
            ends = sorted(position[other] for other in places[place].right)
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _level(places: list[_Place], columns: list[list[int]], metrics: Metrics) -> None:
    """Give each place its height: as near to the mean of those it is joined to as its neighbours allow."""
    for column in columns:
        y = 0.0
        for n, index in enumerate(column):
            y += _apart(places, column, n, metrics)
            places[index].y = y
    for sweep in range(_LEVELLINGS):
        forward = sweep % 2 == 0
        for column in columns if forward else reversed(columns):
            wanted = []
            for place in (places[index] for index in column):
                joined = (place.left or place.right) if forward else (place.right or place.left)
                wanted.append(sum(places[other].y for other in joined) / len(joined) if joined else place.y)
            gaps = [_apart(places, column, n, metrics) for n in range(len(column))]
            for index, height in zip(column, _spread(wanted, gaps), strict=True):
                places[index].y = height
    top = min((place.y for place in places), default=0.0)
    for place in places:
        place.y += metrics.margin + metrics.height / 2 - top


def _apart(places: list[_Place], column: list[int], n: int, metrics: Metrics) -> float:
    """Least distance of the middles of a place and the one above it."""
    if n == 0:
        return 0.0
    halves = [metrics.height / 2 if places[p].box is not None else 0.0 for p in (column[n - 1], column[n])]
    both_boxes = all(places[p].box is not None for p in (column[n - 1], column[n]))
    return sum(halves) + (metrics.gap if both_boxes else metrics.bend_gap)


def _spread(wanted: list[float], gaps: list[float]) -> list[float]:
    """The positions nearest to the wanted ones (least squares) that keep their order and the gaps between them.

    Pool adjacent violators: the gaps aside, positions must only not decrease; blocks that do are put at their mean.
    """
    offsets: list[float] = []
    for gap in gaps:
        offsets.append((offsets[-1] if offsets else 0.0) + gap)
    blocks: list[tuple[float, int]] = []  # mean and length
    for want, offset in zip(wanted, offsets, strict=True):
        mean, count = want - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, length = blocks.pop()
            mean, count = (mean * count + other * length) / (count + length), count + length
        blocks.append((mean, count))
    means = [mean for mean, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
