"""The way to the target of the effects: refused, cut, silent, slow, or with answers that go lost."""

from __future__ import annotations

import asyncio
import time

from chaos.faults.fault import Fault, Finding
from chaos.world import World


async def refuse(world: World) -> Finding:
    """Nobody listens."""
    way = world.cluster.ways["target"]
    ended = way.refuse()
    try:
        await asyncio.sleep(3)
    finally:
        await way.accept()
    return await _recovered(world, f"{ended} connections were ended and new ones refused for 3 s")


async def silent(world: World) -> Finding:
    """Connections are taken, and nothing is answered."""
    way = world.cluster.ways["target"]
    held = way.counts.held
    way.freeze()
    try:
        await asyncio.sleep(4)
        held = way.counts.held - held
    finally:
        way.thaw()
    return await _recovered(world, f"{held} messages got stuck for up to 4 s" if held else "")


async def lose_answers(world: World) -> Finding:
    """The effect has happened, and nobody is told: half of the answers go lost."""
    way = world.cluster.ways["target"]
    lost = way.counts.lost
    way.lose_replies(0.5, world.chance.randrange(2**32))
    try:
        await asyncio.sleep(5)
        lost = way.counts.lost - lost
    finally:
        way.lose_replies(0)
    return await _recovered(world, f"{lost} answers were lost" if lost else "")


async def _recovered(world: World, proof: str) -> Finding:
    finding = Finding(proof)
    since = time.time()
    took = await world.find(lambda: _effect_since(world, since), 30)
    if took is None:
        finding.wrong.append("no call of the target succeeded within 30 s")
    else:
        finding.recoveries = [took]
    return finding


async def _effect_since(world: World, since: float) -> float | None:
    found = await world.value(
        "select extract(epoch from min(h.ended_at))::double precision from workflow.attempt_history h"
        " join workflow.task_list t on t.id = h.task_id"
        " where h.outcome = 'succeeded' and h.ended_at > to_timestamp(%s) and t.type = 'http'",
        since,
    )
    return None if found is None else float(found) - since


FAULTS = (
    Fault("target: refuses", refuse),
    Fault("target: silent", silent),
    Fault("target: answers lost", lose_answers),
)
