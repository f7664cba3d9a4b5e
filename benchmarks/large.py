"""One workflow of 10,000 steps, and one map of 10,000 items, beside as many steps in small workflows: per step, a large
workflow should cost what a small one costs.
"""

from __future__ import annotations

import asyncio
import time

from benchmarks import definitions
from benchmarks.profiles import Profile
from benchmarks.report import Figure, Row, Table
from benchmarks.server import Server, workers
from benchmarks.workload import Load, Meter, await_end
from workflow_engine.records import WorkflowStart
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store

_SLOTS = 100


def measure(server: Server, profile: Profile) -> list[Table]:
    pairs = [
        (
            Load.of("workflows of 100 steps", definitions.layered(10, 10, 2), 100),
            Load.of("one workflow of 10,000 steps", definitions.layered(100, 100, 2), 1),
        ),
        (
            Load.of("maps of 100", definitions.map_of(100), 100, items=100),
            Load.of("one map of 10,000", definitions.map_of(10_000), 1, items=10_000),
        ),
    ]
    with server.engine_database() as url, workers(url, concurrency=_SLOTS) as pids:
        rows = asyncio.run(_measure(url, pairs, Meter(pids, server.postmaster), profile.large_rounds))
    return [Table(f"Large workflows, two workers with {_SLOTS} slots", rows)]


async def _measure(url: str, pairs: list[tuple[Load, Load]], meter: Meter, rounds: int) -> list[Row]:
    pool = Pool(url, size=1)
    await pool.open()
    rows: list[Row] = []
    try:
        store = Store(pool)
        for pair in pairs:
            for load in pair:
                await store.definitions.register(load.definition)
            measured = [_Measured(load) for load in pair]
            for _ in range(rounds):
                for one in measured:
                    await one.run(store, meter)
            rows += _rows(*measured)
    finally:
        await pool.close()
    return rows


class _Measured:
    """What one of the two took, round by round, per step."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.start = Figure(f"{load.label}: start, per step", "us")
        self.rate = Figure(f"{load.label}: run", "steps/s")
        self.server_cpu = Figure(f"{load.label}: CPU of Postgres", "us/step")
        self.worker_cpu = Figure(f"{load.label}: CPU of workers", "us/step")

    async def run(self, store: Store, meter: Meter) -> None:
        load = self._load
        begin = time.perf_counter()
        started, _ = await store.workflows.start([WorkflowStart(load.definition.name)] * load.workflows)
        self.start.values.append((time.perf_counter() - begin) / load.steps * 1e6)
        cost = await await_end(store, [load], [workflow.id for workflow in started], meter)
        self.rate.values.append(load.steps / cost.seconds)
        self.worker_cpu.values.append(cost.worker_cpu / load.steps * 1e6)
        if cost.server_cpu is not None:
            self.server_cpu.values.append(cost.server_cpu / load.steps * 1e6)


def _rows(small: _Measured, large: _Measured) -> list[Row]:
    rows: list[Row] = []
    for one, other in (
        (small.start, large.start),
        (small.rate, large.rate),
        (small.server_cpu, large.server_cpu),
        (small.worker_cpu, large.worker_cpu),
    ):
        if one.values:
            rows += [Row(one), Row(other, (("x small", other.ratio_to(one)),))]
    return rows
