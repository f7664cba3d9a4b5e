"""Lines of numbers over time, for the template to draw: in a box of 100 by 100 that is stretched to what there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

_ROOM = 1.08  # so that the highest point does not touch the edge


@dataclass(frozen=True, slots=True)
class Chart:
    """Attributes:
    line: Points of the line, as SVG has them.
    area: Points of the area below it.
    limit: Where the limit is, in percent from above; None: there is none, or it is far above.
    highest: The highest number of them.
    last: The last.
    """

    line: str
    area: str
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
    drawn = [(round(100 - (now - at) / window * 100, 2), round(100 - value / top * 100, 2)) for at, value in known]
    line = " ".join(f"{x},{y}" for x, y in drawn)
    area = f"{drawn[0][0]},100 {line} {drawn[-1][0]},100"
    return Chart(
        line, area, None if shown_limit is None else round(100 - shown_limit / top * 100, 2), highest, known[-1][1]
    )
