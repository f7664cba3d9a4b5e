"""When a cron expression is due, in a time zone whose clocks may be put forward and back.

An hour field that begins with `*` means real time: such a schedule goes on through both passes of an hour that the
clocks repeat, and an hour that they skip does not exist for it. Any other names a time of day, which happens once each
day: where the clocks skip it, it is as much later as they were put forward; where they repeat it, the first counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

_NEAR = timedelta(hours=4)  # more than any clock is ever put forward or back
_YEARS = 10  # in which some time must be due
_LOOKS_BACK = tuple(timedelta(hours=h) for h in (1, 24, 24 * 40, 24 * 400, 24 * 366 * _YEARS))


def next_due(cron: str, timezone: str, after: datetime) -> datetime | None:
    """The first due time after a moment, in UTC; None when there is none for years."""
    zone = ZoneInfo(timezone)
    hourly = cron.split()[1].startswith("*")
    wall = after.astimezone(zone).replace(tzinfo=None)
    times = croniter(cron, wall - _NEAR if _changes_near(after, zone) else wall, max_years_between_matches=_YEARS)
    found: datetime | None = None
    last = datetime.max
    while True:
        try:
            wall = times.get_next(datetime)
        except CroniterBadDateError:
            return found
        if wall > last:
            return found
        for moment in _moments(wall, zone, hourly=hourly):
            if moment > after and (found is None or moment < found):
                found = moment
                # Near a change the order of wall clocks is not that of moments.
                last = wall + _NEAR if _changes_near(moment, zone) else wall


def due_between(cron: str, timezone: str, after: datetime, until: datetime, most: int) -> list[datetime]:
    """The first `most` due times after `after` and not after `until`."""
    found: list[datetime] = []
    for moment in due_after(cron, timezone, after):
        if moment > until or len(found) == most:
            break
        found.append(moment)
    return found


def last_due(cron: str, timezone: str, first: datetime, until: datetime, most: int) -> list[datetime]:
    """The last `most` due times from `first` to `until`, both included, however long ago `first` was."""
    found: list[datetime] = []
    for span in _LOOKS_BACK:
        after = max(first - timedelta(microseconds=1), until - span)
        found = due_between(cron, timezone, after, until, 100_000)
        if len(found) >= most or after < first:
            break
    return found[-most:]


def due_after(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """All due times after a moment, each worked out when it is asked for: that takes a fraction of a millisecond."""
    moment = next_due(cron, timezone, after)
    while moment is not None:
        yield moment
        moment = next_due(cron, timezone, moment)


def _moments(wall: datetime, zone: ZoneInfo, *, hourly: bool) -> tuple[datetime, ...]:
    """When clocks of the zone show this: once; where they are put back, twice; where they are put forward, never."""
    first = wall.replace(tzinfo=zone).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) != wall:
        return () if hourly else (first,)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return (first, second) if hourly and second != first else (first,)


def _changes_near(moment: datetime, zone: ZoneInfo) -> bool:
    return (moment - _NEAR).astimezone(zone).utcoffset() != (moment + _NEAR).astimezone(zone).utcoffset()
