"""Lines of numbers over time, for the template to draw: in a box of 100 by 100 that is stretched to what there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

_GAP = 3  # times the usual distance of two points: from so much on nobody looked between them,
_LEAST_GAPS = 30  # but only if it is so large a part of the window
_ROOM = 1.08  # so that the highest point does not touch the edge


@dataclass(frozen=True, slots=True)
class Chart:
    """Attributes:
    lines: Points of each part of the line, as SVG has them: for a time when nobody looked there is none.
    areas: Points of the area below each.
    limit: Where the limit is, in percent from above; None: there is none, or it is far above.
    highest: The highest number of them.
    last: The last.
    """

    lines: Sequence[str]
    areas: Sequence[str]
    limit: float | None
    highest: float
    last: float


def chart(
    points: Sequence[tuple[datetime, float | None]], window: timedelta, now: datetime, *, limit: float | None = None
) -> Chart | None:
    """The line of some numbers within the last `window`; None when there are too few for one.

    Args:
        points: Oldest first; None = not known.
        limit: A number that a line is drawn at, if any point comes near to it.
    """
    known = [(at, value) for at, value in points if value is not None]
    if len(known) < 2:
        return None
    highest = max(value for _, value in known)
    shown_limit = limit if limit is not None and highest > limit / 2 else None
    top = max(highest, shown_limit or 0, 1) * _ROOM
    distances = sorted(later - at for (at, _), (later, _) in pairwise(known))
    gap = max(_GAP * distances[len(distances) // 2], window / _LEAST_GAPS)
    parts: list[list[tuple[float, float]]] = []
    before: datetime | None = None
    for at, value in known:
        if before is None or at - before > gap:
            parts.append([])
        parts[-1].append((round(100 - (now - at) / window * 100, 2), round(100 - value / top * 100, 2)))
        before = at
    lines = [" ".join(f"{x},{y}" for x, y in part) for part in parts]
    areas = [f"{part[0][0]},100 {line} {part[-1][0]},100" for part, line in zip(parts, lines, strict=True)]
    shown_at = None if shown_limit is None else round(100 - shown_limit / top * 100, 2)
    return Chart(lines, areas, shown_at, highest, known[-1][1])
