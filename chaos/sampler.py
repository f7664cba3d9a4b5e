"""Looks at what must hold at every instant while faults are inflicted, and at what the processes use."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

import psutil

from chaos.nemesis import Nemesis
from chaos.world import AWAY, World

_EVERY_SECONDS = 5.0
_MOST = 20
# Those that live or have just ended: all others are looked at in the end.
_RECENT = """
select array_agg(w.id) from workflow.workflows w
where w.finished_at is null or w.finished_at > now() - interval '1 minute'
"""
_INSTANT = """
select invariant, workflow_id::text as workflow, found from workflow.invariant_violations
where instant and workflow_id = any(%s) limit %s
"""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must hold and did not."""

    at: float
    invariant: str
    workflow: str | None
    found: Any
    during: str | None  # the fault that was being inflicted


@dataclass(slots=True)
class Usage:
    """What the processes of one name used, over all their lives."""

    rss_mib: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)


class Sampler:
    """Looks again and again, until cancelled.

    Attributes:
        looks: How often it has looked at the invariants; Postgres is away at times.
        violations: What it found.
        usage: Of engines and workers, by name.
        succeeded: Steps that had succeeded, by when.
    """

    def __init__(self, world: World, nemesis: Nemesis) -> None:
        self._world = world
        self._nemesis = nemesis
        self.looks = 0
        self.violations: list[Violation] = []
        self.usage: dict[str, Usage] = {}
        self.succeeded: list[tuple[float, int]] = []

    async def run(self) -> None:
        while True:
            with contextlib.suppress(*AWAY):
                await self.look()
            self._use()
            await asyncio.sleep(_EVERY_SECONDS)

    async def look(self) -> None:
        """Ask for violations once, all of one snapshot."""
        during = self._nemesis.current
        found = await self._world.rows(_INSTANT, await self._world.value(_RECENT), _MOST)
        self.looks += 1
        self.violations += [
            Violation(time.time(), row["invariant"], row["workflow"], row["found"], during) for row in found
        ]
        count = await self._world.value("select count(*) from workflow.attempt_history where outcome = 'succeeded'")
        self.succeeded.append((time.time(), int(count)))

    def _use(self) -> None:
        for name, pid in self._world.cluster.processes().items():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                usage = self.usage.setdefault(name, Usage())
                usage.rss_mib.append(process.memory_info().rss / 2**20)
                usage.files.append(process.num_fds())
