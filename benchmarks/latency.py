"""One workflow at a time on an idle system, two workers with default settings: a chain of 40 no-op steps."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from benchmarks import definitions
from benchmarks.profiles import Profile
from benchmarks.report import Figure, Row, Table
from benchmarks.server import Server, workers
from benchmarks.workload import run_workflows
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store

_GOAL_MS = 5.0
_PAUSE_SECONDS = 0.3  # between two chains, so that the workers are idle again
_LENGTH = 40


def measure(server: Server, profile: Profile) -> list[Table]:
    with server.engine_database() as url, workers(url):
        transition, whole = asyncio.run(_chains(url, profile.chains))
    p95 = Figure("transition, p95", "ms", [transition.percentile(0.95)])
    return [
        Table(
            f"Latency, {profile.chains} chains of {_LENGTH} one after the other, idle system, default settings",
            [
                Row(transition, goal=f"median <= {_GOAL_MS:g} ms", met=transition.median <= _GOAL_MS),
                Row(p95),
                Row(whole),
            ],
        )
    ]


async def _chains(database_url: str, count: int) -> tuple[Figure, Figure]:
    transition = Figure("transition", "ms")
    whole = Figure(f"whole chain of {_LENGTH}", "ms")
    definition = definitions.chain(_LENGTH)
    pool = Pool(database_url, size=2)
    await pool.open()
    try:
        store = Store(pool)
        await store.definitions.register(definition)
        await run_workflows(store, definition, 1)  # both the plan and the caches
        for _ in range(count):
            await asyncio.sleep(_PAUSE_SECONDS)
            await run_workflows(store, definition, 1)
            (workflow,) = await store.workflows.list(limit=1)
            tasks = await store.workflows.tasks(str(workflow.id))
            starts = [task.started_at for task in tasks if task.started_at is not None]
            assert workflow.finished_at is not None
            whole.values.append((workflow.finished_at - workflow.created_at).total_seconds() * 1000)
            transition.values += [(b - a).total_seconds() * 1000 for a, b in pairwise(starts)]
    finally:
        await pool.close()
    return transition, whole
