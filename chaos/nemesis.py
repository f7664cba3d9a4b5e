"""Inflicts one fault after the other, in an order that follows from the seed, and writes down what each did."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from chaos.faults import FAULTS
from chaos.faults.fault import Finding
from chaos.world import World

_REST_SECONDS = (0.5, 2.5)  # between two faults
_TRIES = 3  # of a fault that finds nothing to hit, such as no worker that is busy


@dataclass(frozen=True, slots=True)
class Inflicted:
    """One fault, as it was."""

    fault: str
    began: float  # seconds since the epoch
    ended: float  # when all was well again
    finding: Finding


class Nemesis:
    """Deals the faults like cards: each comes as often as it says before any comes again.

    Args:
        world: What it hits.
        names: The faults; empty: all.
        say: Told what happens.

    Attributes:
        inflicted: What was done so far.
        current: The fault that is being inflicted.
    """

    def __init__(self, world: World, names: Sequence[str]) -> None:
        self._world = world
        self._deck = [FAULTS[name] for name in names or FAULTS for _ in range(FAULTS[name].times)]
        self.inflicted: list[Inflicted] = []
        self.current: str | None = None

    async def run(self, seconds: float) -> None:
        """Inflict faults for so long; the last one may end later. Each is inflicted once at least if there is time."""
        chance, deadline = self._world.chance, time.monotonic() + seconds
        while True:
            deck = chance.sample(self._deck, len(self._deck))
            for fault in deck:
                await asyncio.sleep(chance.uniform(*_REST_SECONDS))
                if time.monotonic() > deadline:
                    return
                self.current = fault.name
                inflicted = await self._inflict(fault.name)
                self.current = None
                self.inflicted.append(inflicted)
                _say(inflicted)

    async def _inflict(self, name: str) -> Inflicted:
        began = time.time()
        finding = Finding()
        for _ in range(_TRIES):
            try:
                finding = await FAULTS[name].inflict(self._world)
            except Exception as error:  # told in the report; the run goes on
                traceback.print_exc()
                finding = Finding(wrong=[f"the fault itself failed: {type(error).__name__}: {error}"])
                break
            if finding.proof or finding.wrong:
                break
        return Inflicted(name, began, time.time(), finding)


def _say(inflicted: Inflicted) -> None:
    finding = inflicted.finding
    recovery = f"; went on after {max(finding.recoveries):.2f} s" if finding.recoveries else ""
    wrong = f"; WRONG: {'; '.join(finding.wrong)}" if finding.wrong else ""
    print(f"  {inflicted.fault:<38} {finding.proof or 'DID NOT BITE'}{recovery}{wrong}", flush=True)
