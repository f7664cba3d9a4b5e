"""Steps per second of no-op workflows with two worker processes, round by round beside the two comparisons."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import commits, definitions, stock
from benchmarks.profiles import Profile
from benchmarks.report import Figure, Row, Table
from benchmarks.server import Server, workers
from benchmarks.workload import run_workflows
from workflow_engine.definition.compile import CompiledDefinition
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store

_GOAL = 6.0  # times stock procrastinate
_CONCURRENCIES = (100, 10)  # per process; 10 is the default


@dataclass(frozen=True, slots=True)
class Load:
    label: str
    definition: CompiledDefinition
    workflows: int

    @property
    def steps(self) -> int:
        return self.workflows * len(self.definition.plan.steps)


def measure(server: Server, profile: Profile) -> list[Table]:
    factor = profile.load_factor
    loads = [
        Load(f"{2000 * factor:,} singles", definitions.single(), 2000 * factor),
        Load(f"{200 * factor:,} chains of 10", definitions.chain(10), 200 * factor),
        Load(f"{20 * factor:,} fan-outs of 100 + join", definitions.fan_out(100), 20 * factor),
    ]
    stock_figure = Figure("stock procrastinate", "jobs/s")
    commit_figures = {n: Figure(f"single-INSERT commits, {n} clients", "commits/s") for n in profile.commit_clients}
    engine = {(load.label, c): Figure(f"{load.label}, 2 x {c}", "steps/s") for c in _CONCURRENCIES for load in loads}

    pgbench = commits.find_pgbench(server)
    with (
        server.empty_database() as commits_url,
        server.empty_database() as stock_url,
        server.engine_database() as engine_url,
    ):
        commits.prepare(commits_url)
        stock.prepare(stock_url)
        settings = stock.best_settings(stock_url, profile.stock_jobs)
        for _ in range(profile.rounds):
            for clients, figure in commit_figures.items():
                figure.values.append(
                    commits.commits_per_second(pgbench, commits_url, clients=clients, seconds=profile.commit_seconds)
                )
            stock_figure.values.append(stock.jobs_per_second(stock_url, settings, profile.stock_jobs))
            for concurrency in _CONCURRENCIES:
                with workers(engine_url, concurrency=concurrency):
                    rates = asyncio.run(_steps_per_second(engine_url, loads))
                for load, rate in zip(loads, rates, strict=True):
                    engine[load.label, concurrency].values.append(rate)

    limit = commit_figures[profile.commit_clients[0]]
    rows = [Row(figure) for figure in commit_figures.values()] + [Row(stock_figure)]
    for (_, concurrency), figure in engine.items():
        ratio = figure.ratio_to(stock_figure)
        has_goal = concurrency == _CONCURRENCIES[0]
        rows.append(
            Row(
                figure,
                (("x stock", ratio), ("x commits", figure.ratio_to(limit))),
                goal=f">= {_GOAL:g} x stock" if has_goal else "",
                met=ratio >= _GOAL if has_goal else None,
            )
        )
    driver = f"by {pgbench.name}" if pgbench else "by threads in one Python (no pgbench was found)"
    return [
        Table(
            "Throughput, two worker processes, no-op steps",
            rows,
            [
                f"stock procrastinate: {settings}, the best of {len(stock.CANDIDATES)} settings tried",
                f"commits: {driver}",
            ],
        )
    ]


async def _steps_per_second(database_url: str, loads: Sequence[Load]) -> list[float]:
    pool = Pool(database_url, size=2)
    await pool.open()
    try:
        store = Store(pool)
        for load in loads:
            await store.definitions.register(load.definition)
            await run_workflows(store, load.definition, max(load.workflows // 10, 1))  # plans are read, caches warm
        return [load.steps / await run_workflows(store, load.definition, load.workflows) for load in loads]
    finally:
        await pool.close()
