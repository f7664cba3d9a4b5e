"""Steps per second of no-op workflows with two worker processes, round by round beside the two comparisons."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks import commits, definitions, stock
from benchmarks.profiles import Profile
from benchmarks.report import Figure, Grid, Row, Table
from benchmarks.server import Server, workers
from benchmarks.traffic import Traffic, measure_traffic
from benchmarks.workload import Cost, Load, Meter, run_loads
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store

_STOCK_GOAL = 10.0  # times stock procrastinate
_COMMITS_GOAL, _BEYOND = 0.35, 0.6  # times the single-INSERT commits
_SLEEP_SECONDS, _SLEEPERS_GOAL = 0.1, 0.6  # of 500 steps on 200 slots: three rounds of them and what they cost
_SLOTS, _DEFAULT_SLOTS, _FEW_SLOTS = 100, 50, 10  # per process


def measure(server: Server, profile: Profile) -> list[Table | Grid]:
    compared, shapes = _compared(profile.load_factor), _shapes(profile.load_factor)
    sleepers = Load.of(f"steps that sleep {_SLEEP_SECONDS:g} s", definitions.sleeper(_SLEEP_SECONDS), 500)
    by_slots = {_SLOTS: [*compared, *shapes, sleepers], _DEFAULT_SLOTS: compared, _FEW_SLOTS: compared}
    stock_figure = Figure("stock procrastinate", "jobs/s")
    commit_figures = {n: Figure(f"single-INSERT commits, {n} clients", "commits/s") for n in profile.commit_clients}
    limit = commit_figures[profile.commit_clients[0]]
    costs: dict[tuple[str, int], list[Cost]] = {(load.label, n): [] for n, loads in by_slots.items() for load in loads}

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
                if figure is limit or not figure.values:  # once is enough for what nothing is compared to
                    figure.values.append(
                        commits.commits_per_second(
                            pgbench, commits_url, clients=clients, seconds=profile.commit_seconds
                        )
                    )
            stock_figure.values.append(stock.jobs_per_second(stock_url, settings, profile.stock_jobs))
            for slots, loads in by_slots.items():
                with workers(engine_url, concurrency=slots) as pids:
                    meter = Meter(pids, server.postmaster)
                    for load, cost in zip(loads, asyncio.run(_run(engine_url, loads, meter)), strict=True):
                        costs[load.label, slots].append(cost)
    costed = [*compared, *shapes] if profile.cost_of_shapes else compared
    traffic = measure_traffic(server, costed, _SLOTS)

    def row(load: Load, slots: int, *, goals: bool = False) -> Row:
        return _throughput_row(load, slots, costs[load.label, slots], stock_figure, limit, goals=goals)

    driver = f"by {pgbench.name}" if pgbench else "by threads in one Python (no pgbench was found)"
    slept = Figure(f"{sleepers.label}, 2 x {_SLOTS}", "s", [cost.seconds for cost in costs[sleepers.label, _SLOTS]])
    return [
        Table(
            "Throughput, two worker processes, no-op steps",
            [
                *(Row(figure) for figure in commit_figures.values()),
                Row(stock_figure),
                *(row(load, _SLOTS) for load in compared),
                *(row(load, _DEFAULT_SLOTS, goals=True) for load in compared),
                *(row(load, _FEW_SLOTS) for load in compared),
                *(row(load, _SLOTS) for load in shapes),
                Row(slept, goal=f"<= {_SLEEPERS_GOAL:g} s", met=slept.median <= _SLEEPERS_GOAL),
            ],
            [
                f"stock procrastinate: {settings}, the best of {len(stock.CANDIDATES)} settings tried",
                f"commits: {driver}; the goal beyond is {_BEYOND:g} of them",
            ],
        ),
        _cost_grid([(load, costs[load.label, _SLOTS], one) for load, one in zip(costed, traffic, strict=True)]),
    ]


def _compared(factor: int) -> list[Load]:
    return [
        Load.of("singles", definitions.single(), 2000 * factor),
        Load.of("chains of 10", definitions.chain(10), 200 * factor),
        Load.of("fan-outs of 100 + join", definitions.fan_out(100), 20 * factor),
    ]


def _shapes(factor: int) -> list[Load]:
    return [
        Load.of("map of 2,000", definitions.map_of(2000), 1, items=2000),
        Load.of("wide: 2,000 + join", definitions.fan_out(2000), 1),
        Load.of("deep: chains of 100", definitions.chain(100), 20 * factor),
        Load.of("layered: 10 x 20, each on all before", definitions.layered(10, 20, 20), 10 * factor),
        Load.of("montage of 103 steps", definitions.montage(25), 20 * factor),
        Load.of("epigenomics of 100 steps", definitions.epigenomics(24), 20 * factor),
        Load.of("inspiral of 102 steps", definitions.inspiral(3, 8), 20 * factor),
    ]


def _throughput_row(
    load: Load, slots: int, costs: Sequence[Cost], stock_figure: Figure, limit: Figure, *, goals: bool
) -> Row:
    figure = Figure(f"{load.label}, 2 x {slots}", "steps/s", [load.steps / cost.seconds for cost in costs])
    of_stock, of_commits = figure.ratio_to(stock_figure), figure.ratio_to(limit)
    ratios = (("x stock", of_stock), ("x commits", of_commits))
    if not goals:
        return Row(figure, ratios)
    return Row(
        figure,
        ratios,
        goal=f">= {_STOCK_GOAL:g} x stock and {_COMMITS_GOAL:g} x commits",
        met=of_stock >= _STOCK_GOAL and of_commits >= _COMMITS_GOAL,
    )


def _cost_grid(measured: Sequence[tuple[Load, Sequence[Cost], Traffic]]) -> Grid:
    def row(load: Load, costs: Sequence[Cost], traffic: Traffic) -> tuple[str, list[Figure | None]]:
        def figure(name: str, unit: str, totals: Sequence[float]) -> Figure | None:
            return Figure(f"{load.label}: {name}", unit, [one / load.steps for one in totals]) if totals else None

        statements = [] if traffic.statements is None else [traffic.statements]
        updated = max(traffic.updated, 1)
        return load.label, [
            figure("CPU of Postgres", "us", [cost.server_cpu * 1e6 for cost in costs if cost.server_cpu is not None]),
            figure("CPU of workers", "us", [cost.worker_cpu * 1e6 for cost in costs]),
            figure("WAL", "bytes", [cost.wal_bytes for cost in costs]),
            figure("commits", "", [traffic.commits]),
            figure("statements", "", statements),
            figure("rows inserted", "", [traffic.inserted]),
            figure("rows updated", "", [traffic.updated]),
            Figure(f"{load.label}: of these without touching an index", "%", [traffic.hot / updated * 100]),
            figure("rows deleted", "", [traffic.deleted]),
        ]

    return Grid(
        f"Cost of one step, two worker processes with {_SLOTS} slots",
        ["Postgres us", "workers us", "WAL bytes", "commits", "statements", "inserts", "updates", "HOT %", "deletes"],
        [row(*one) for one in measured],
        ["after the start of the workflows, whose rows are inserted before; statements are round trips to the server"],
    )


async def _run(database_url: str, loads: Sequence[Load], meter: Meter) -> list[Cost]:
    pool = Pool(database_url, size=2)
    await pool.open()
    try:
        store = Store(pool)
        for load in loads:
            await store.definitions.register(load.definition)
            await run_loads(store, [load.part(0.1)])  # plans are read, caches warm
        return [await run_loads(store, [load], meter) for load in loads]
    finally:
        await pool.close()
