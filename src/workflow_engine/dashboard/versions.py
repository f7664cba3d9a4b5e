"""Which versions of definitions run, and how they did lately, for all pages that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from workflow_engine.dashboard.visit import Visit
from workflow_engine.records import LiveVersion, RecentEnds

DAYS = 7
_LIVE_SECONDS = 2.0
_ENDS_SECONDS = 3.0
_SINCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class LiveVersions:
    """Workflows that have not ended, by definition and version."""

    by_name: Mapping[str, Sequence[LiveVersion]]
    total: int

    def of(self, name: str) -> Sequence[LiveVersion]:
        """Of one definition, newest version first."""
        return self.by_name.get(name, ())


async def live_versions(visit: Visit) -> LiveVersions:
    """Raises:
    StoreUnavailable: Postgres does not answer.
    """

    async def look() -> LiveVersions:
        by_name: dict[str, list[LiveVersion]] = {}
        for version in await visit.store.definitions.live():
            by_name.setdefault(version.name, []).append(version)
        return LiveVersions(by_name, sum(version.live for each in by_name.values() for version in each))

    return await visit.kept("live versions", _LIVE_SECONDS, look)


async def recent_ends(visit: Visit, names: Sequence[str]) -> Mapping[tuple[str, int | None], RecentEnds]:
    """How workflows of these ended in the last days, by definition and version; None = all versions together."""
    found = await visit.glance.kept(
        f"ends of {','.join(names)}", _ENDS_SECONDS, lambda: visit.store.definitions.recent_ends(names, days=DAYS)
    )
    return {(ends.name, ends.version): ends for ends in found}


async def ends_counted_since(visit: Visit) -> datetime | None:
    """Since when ends are counted, if those of the last days are not all counted."""
    return await visit.glance.kept(
        "ends counted since", _SINCE_SECONDS, lambda: visit.store.definitions.ends_counted_since(days=DAYS)
    )
