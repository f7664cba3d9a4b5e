"""Steps per second of no-op workflows with two worker processes, round by round beside the two comparisons."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import commits, definitions, stock
from benchmarks.profiles import Profile
from benchmarks.report import Figure, Row, Table
from benchmarks.server import Server, workers
from benchmarks.workload import Cost, Meter, run_workflows
from workflow_engine.definition.plan import CompiledDefinition
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
    costs: dict[tuple[str, int], list[Cost]] = {(load.label, c): [] for c in _CONCURRENCIES for load in loads}

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
                with workers(engine_url, concurrency=concurrency) as pids:
                    meter = Meter(pids, server.postmaster)
                    for load, cost in zip(loads, asyncio.run(_run(engine_url, loads, meter)), strict=True):
                        costs[load.label, concurrency].append(cost)

    driver = f"by {pgbench.name}" if pgbench else "by threads in one Python (no pgbench was found)"
    limit = commit_figures[profile.commit_clients[0]]
    rows = [Row(figure) for figure in commit_figures.values()] + [Row(stock_figure)]
    rows += [
        _throughput_row(load, concurrency, costs[load.label, concurrency], stock_figure, limit)
        for concurrency in _CONCURRENCIES
        for load in loads
    ]
    notes = [
        f"stock procrastinate: {settings}, the best of {len(stock.CANDIDATES)} settings tried",
        f"commits: {driver}",
    ]
    return [
        Table("Throughput, two worker processes, no-op steps", rows, notes),
        Table(
            f"Cost of one step, two worker processes with {_CONCURRENCIES[0]} slots",
            [row for load in loads for row in _cost_rows(load, costs[load.label, _CONCURRENCIES[0]])],
        ),
    ]


def _throughput_row(load: Load, concurrency: int, costs: Sequence[Cost], stock_figure: Figure, limit: Figure) -> Row:
    figure = Figure(f"{load.label}, 2 x {concurrency}", "steps/s", [load.steps / cost.seconds for cost in costs])
    ratios = (("x stock", figure.ratio_to(stock_figure)), ("x commits", figure.ratio_to(limit)))
    if concurrency != _CONCURRENCIES[0]:
        return Row(figure, ratios)
    return Row(figure, ratios, goal=f">= {_GOAL:g} x stock", met=ratios[0][1] >= _GOAL)


def _cost_rows(load: Load, costs: Sequence[Cost]) -> Iterator[Row]:
    def per_step(name: str, unit: str, totals: Sequence[float]) -> Row:
        return Row(Figure(f"{load.label}: {name}", unit, [total / load.steps for total in totals]))

    server_cpu = [cost.server_cpu * 1e6 for cost in costs if cost.server_cpu is not None]
    if server_cpu:
        yield per_step("CPU of Postgres", "us", server_cpu)
    yield per_step("CPU of workers", "us", [cost.worker_cpu * 1e6 for cost in costs])
    yield per_step("WAL", "bytes", [cost.wal_bytes for cost in costs])


async def _run(database_url: str, loads: Sequence[Load], meter: Meter) -> list[Cost]:
    pool = Pool(database_url, size=2)
    await pool.open()
    try:
        store = Store(pool)
        for load in loads:
            await store.definitions.register(load.definition)
            await run_workflows(store, load.definition, max(load.workflows // 10, 1))  # plans are read, caches warm
        return [await run_workflows(store, load.definition, load.workflows, meter) for load in loads]
    finally:
        await pool.close()
