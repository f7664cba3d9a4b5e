"""One workflow at a time on an idle system, two workers with default settings: a chain of 40 no-op steps.

Beside each chain as many single commits, one after the other: what the machine needs for that many steps at least. And
what the workers do when there is nothing to do at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise

import psycopg

from benchmarks import commits, definitions
from benchmarks.floor import insert_once
from benchmarks.profiles import Profile
from benchmarks.report import Figure, Row, Table
from benchmarks.server import Server, transactions, workers
from benchmarks.workload import run_workflows
from workflow_engine.records import WorkflowFilter
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store

_GOAL_MS = 5.0
_IDLE_GOAL = 5.0
_IDLE_SECONDS = 30.0  # longer than a visit of autovacuum
_REPORT_SECONDS = 11.0  # idle sessions report their counts ten seconds late
_PAUSE_SECONDS = 0.3  # between two chains, so that the workers are idle again
_LENGTH = 40
_WHOLE_GOAL_MS = 120.0


def measure(server: Server, profile: Profile) -> list[Table]:
    floor = Figure(f"{_LENGTH} single INSERTs by one client, in turn", "ms")
    with (
        server.empty_database() as commits_url,
        server.engine_database() as url,
        workers(url),
        psycopg.connect(commits_url, autocommit=True, prepare_threshold=0) as connection,
    ):
        commits.prepare(commits_url)

        def beside() -> None:
            floor.values.append(sum(insert_once(connection) for _ in range(_LENGTH)))

        transition, whole = asyncio.run(_chains(url, profile.chains, beside))
        idle = Figure("two idle workers", "commits/s", [_commits_per_second(server, url)])
    p95 = Figure("transition, p95", "ms", [transition.percentile(0.95)])
    return [
        Table(
            f"Latency, {profile.chains} chains of {_LENGTH} one after the other, idle system, default settings",
            [
                Row(transition, goal=f"median <= {_GOAL_MS:g} ms", met=transition.median <= _GOAL_MS),
                Row(p95),
                Row(floor),
                Row(
                    whole,
                    (("x that", whole.ratio_to(floor)),),
                    goal=f"median <= {_WHOLE_GOAL_MS:g} ms",
                    met=whole.median <= _WHOLE_GOAL_MS,
                ),
                Row(idle, goal=f"<= {_IDLE_GOAL:g} commits/s", met=idle.median <= _IDLE_GOAL),
            ],
        )
    ]


def _commits_per_second(server: Server, database_url: str) -> float:
    """Transactions per second in the database."""
    time.sleep(_REPORT_SECONDS)
    before = transactions(server, database_url)
    time.sleep(_IDLE_SECONDS)
    return (transactions(server, database_url) - before) / _IDLE_SECONDS


async def _chains(database_url: str, count: int, beside: Callable[[], None]) -> tuple[Figure, Figure]:
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
            beside()
            await asyncio.sleep(_PAUSE_SECONDS)
            await run_workflows(store, definition, 1)
            (workflow,) = await store.search.list(WorkflowFilter(), limit=1)
            tasks = await store.workflows.tasks(str(workflow.id))
            starts = [task.started_at for task in tasks if task.started_at is not None]
            assert workflow.finished_at is not None
            whole.values.append((workflow.finished_at - workflow.created_at).total_seconds() * 1000)
            transition.values += [(b - a).total_seconds() * 1000 for a, b in pairwise(starts)]
    finally:
        await pool.close()
    return transition, whole
