"""`python -m benchmarks.soak`: an engine and two workers under a steady load for a long time, with retention on.

First what they use when there is nothing to do; then, over time, how large the tables are, what lies dead in them, how
long turns take and how much memory the processes hold. All of it should stay where it is. Printed, and written as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import psutil
import psycopg

from benchmarks.report import Figure, Row, Table, machine, write_json
from benchmarks.scraping import quantile, scrape, turn_buckets
from benchmarks.server import Server, engine, metrics_ports, open_server, transactions, workers
from benchmarks.steady import SteadyLoad

_SETTLE_SECONDS = 15.0  # after the start, and longer than the statistics of idle sessions are late
_IDLE_SECONDS = 30.0
_CPU_GOAL = 2.0  # per cent of a core
_TRANSACTIONS_GOAL = 5.0  # per second
_RSS_GOAL = 130.0  # MiB
_SLOPE_GOAL = 1.0  # MB per hour
_WARM_UP_SHARE = 0.25
_LEAST_SLOPE_HOURS = 0.5  # a slope over less than that says nothing

# Partitions count as the table they belong to.
_TABLES = """
select coalesce(pg_partition_root(c.oid), c.oid)::regclass::text,
       sum(pg_total_relation_size(c.oid))::bigint,
       sum(coalesce(pg_stat_get_dead_tuples(c.oid), 0))::bigint
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname in ('workflow', 'public')
group by 1
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was found at one moment. Durations are of the turns since the sample before."""

    minutes: float
    behind: int  # steps that were submitted and are not done
    turn_p50_ms: float | None
    turn_p99_ms: float | None
    engine_rss_mib: float
    worker_rss_mib: list[float]
    bytes: dict[str, int]  # by table
    dead: dict[str, int]


@dataclass(frozen=True, slots=True)
class Processes:
    """What is looked at."""

    database_url: str
    engine: int
    workers: Sequence[int]
    ports: Sequence[int]

    def rss_mib(self) -> list[float]:
        """Of the engine, then of each worker."""
        return [psutil.Process(pid).memory_info().rss / 2**20 for pid in (self.engine, *self.workers)]

    def cpu(self) -> float:
        """Seconds of the engine and the workers so far."""
        times = [psutil.Process(pid).cpu_times() for pid in (self.engine, *self.workers)]
        return sum(float(one.user + one.system) for one in times)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long the load lasts")
    parser.add_argument("--rate", type=float, default=100.0, help="steps per second")
    parser.add_argument("--retention", type=int, default=300, help="seconds that ended workflows are kept")
    parser.add_argument("--held-open-seconds", type=float, default=0.0, help="hold a transaction open, in the middle")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between samples")
    parser.add_argument("--json", type=Path, default=Path("build/soak.json"), help="where the figures go")
    options = parser.parse_args()

    settings = {"WORKFLOW_RETENTION_SUCCEEDED_SECONDS": str(options.retention)}
    with open_server() as server, server.engine_database() as url, engine(url, settings) as (_, engine_pid):
        about = {
            "server": server.description,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "minutes": options.minutes,
            "rate": options.rate,
            "retention": options.retention,
            "held_open_seconds": options.held_open_seconds,
            **machine(),
        }
        print(f"{server.description}; {about['cores']} cores; load average before: {about['load_before']}")
        ports = metrics_ports(2)
        with workers(url, ports=ports) as pids:
            processes = Processes(url, engine_pid, pids, ports)
            idle = _idle(server, processes)
            idle.print()
            samples = asyncio.run(_load(processes, options))
    tables = [idle, _memory(samples), _sizes(samples)]
    for table in tables[1:]:
        table.print()
    write_json(options.json, tables, {**about, "samples": [asdict(sample) for sample in samples]})
    print(f"\nwritten to {options.json}")


def _idle(server: Server, processes: Processes) -> Table:
    """What an engine and two workers use that have nothing to do."""
    time.sleep(_SETTLE_SECONDS)
    cpu, commits, begin = processes.cpu(), transactions(server, processes.database_url), time.monotonic()
    time.sleep(_IDLE_SECONDS)
    seconds = time.monotonic() - begin
    share = Figure("processor, all three together", "% of a core", [(processes.cpu() - cpu) / seconds * 100])
    rate = (transactions(server, processes.database_url) - commits) / seconds
    rss = Figure("memory of each", "MiB", processes.rss_mib())
    return Table(
        "Idle: an engine and two workers",
        [
            Row(share, goal=f"< {_CPU_GOAL:g} %", met=share.median < _CPU_GOAL),
            Row(
                Figure("transactions, all three together", "/s", [rate]),
                goal=f"< {_TRANSACTIONS_GOAL:g} /s",
                met=rate < _TRANSACTIONS_GOAL,
            ),
            Row(rss, goal=f"<= {_RSS_GOAL:g} MiB", met=max(rss.values) <= _RSS_GOAL),
        ],
    )


async def _load(processes: Processes, options: argparse.Namespace) -> list[Sample]:
    samples: list[Sample] = []
    seconds = options.minutes * 60
    print(
        f"\n{'minute':>7} {'behind':>7} {'p50 ms':>7} {'p99 ms':>7} {'engine':>7} {'workers MiB':>12}  MB (dead rows)"
    )
    async with SteadyLoad(processes.database_url, processes.ports) as load:
        begin = time.monotonic()
        submitting = asyncio.create_task(load.at_rate(options.rate, seconds))
        holding = asyncio.create_task(_hold(processes.database_url, seconds, options.held_open_seconds))
        buckets = await asyncio.to_thread(_turn_buckets, processes)
        while not submitting.done():
            await asyncio.wait([submitting], timeout=options.every)
            before, buckets = buckets, await asyncio.to_thread(_turn_buckets, processes)
            samples.append(
                await asyncio.to_thread(
                    _sample, processes, (time.monotonic() - begin) / 60, load.behind, before, buckets
                )
            )
            _print_sample(samples[-1])
        await submitting
        await holding
        await load.drain()
    return samples


async def _hold(database_url: str, seconds: float, held_seconds: float) -> None:
    """Hold a transaction open in the middle of the run."""
    if held_seconds <= 0:
        return
    await asyncio.sleep(max((seconds - held_seconds) / 2, 0))
    async with await psycopg.AsyncConnection.connect(database_url, application_name="soak held open") as connection:
        await connection.execute("set transaction isolation level repeatable read")
        await connection.execute("select count(*) from workflow.definitions")
        print("a transaction is open now", flush=True)
        await asyncio.sleep(held_seconds)
    print("it has ended", flush=True)


def _turn_buckets(processes: Processes) -> dict[float, float]:
    return turn_buckets([scrape(port) for port in processes.ports])


def _sample(
    processes: Processes, minutes: float, behind: int, before: Mapping[float, float], after: Mapping[float, float]
) -> Sample:
    with psycopg.connect(processes.database_url, autocommit=True) as connection:
        tables = connection.execute(_TABLES.encode()).fetchall()
    p50, p99 = (quantile(before, after, share) for share in (0.5, 0.99))
    engine, *of_workers = processes.rss_mib()
    return Sample(
        minutes=round(minutes, 2),
        behind=behind,
        turn_p50_ms=None if p50 is None else round(p50 * 1000, 2),
        turn_p99_ms=None if p99 is None else round(p99 * 1000, 2),
        engine_rss_mib=round(engine, 2),
        worker_rss_mib=[round(value, 2) for value in of_workers],
        bytes={name: size for name, size, _ in tables},
        dead={name: dead for name, _, dead in tables},
    )


def _print_sample(sample: Sample) -> None:
    durations = " ".join(f"{value or 0:7.1f}" for value in (sample.turn_p50_ms, sample.turn_p99_ms))
    largest = sorted(sample.bytes, key=lambda name: -sample.bytes[name])[:5]
    sizes = ", ".join(f"{_short(name)} {sample.bytes[name] / 1e6:.0f} ({sample.dead[name]:,})" for name in largest)
    memory = " ".join(f"{value:.0f}" for value in sample.worker_rss_mib)
    print(
        f"{sample.minutes:7.1f} {sample.behind:7,} {durations} {sample.engine_rss_mib:7.0f} {memory:>12}  {sizes}",
        flush=True,
    )


def _short(name: str) -> str:
    return name.removeprefix("workflow.")


def _settled(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Those after the warm-up."""
    end = samples[-1].minutes
    return [sample for sample in samples if sample.minutes >= end * _WARM_UP_SHARE]


def _memory(samples: Sequence[Sample]) -> Table:
    """How the memory of each process grew after the warm-up."""
    settled = _settled(samples)
    long_enough = (settled[-1].minutes - settled[0].minutes) / 60 >= _LEAST_SLOPE_HOURS
    of_process = {
        "engine": [sample.engine_rss_mib for sample in settled],
        **{f"worker {n + 1}": [s.worker_rss_mib[n] for s in settled] for n in range(len(settled[0].worker_rss_mib))},
    }
    rows = []
    for name, values in of_process.items():
        rows.append(
            Row(
                Figure(f"{name}: memory", "MiB", values),
                goal=f"<= {_RSS_GOAL:g} MiB",
                met=max(values) <= _RSS_GOAL,
            )
        )
        if len(values) < 2:
            continue
        slope = _slope([s.minutes / 60 for s in settled], values) * 2**20 / 1e6
        met = slope < _SLOPE_GOAL if long_enough else None
        rows.append(Row(Figure(f"{name}: slope", "MB/h", [slope]), goal=f"< {_SLOPE_GOAL:g} MB/h", met=met))
    note = "warm-up: the first quarter; slope: the median of those between any two samples"
    note += "" if long_enough else "; too short a run for its goal"
    return Table("Memory under load, after the warm-up", rows, [note])


def _slope(at: Sequence[float], values: Sequence[float]) -> float:
    """The median of the slopes between any two samples: what comes and goes again is no slope, what stays is one."""
    points = list(zip(at, values, strict=True))
    return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2))


def _sizes(samples: Sequence[Sample]) -> Table:
    """The tables and the turns after the warm-up."""
    settled = _settled(samples)
    largest = sorted(settled[-1].bytes, key=lambda name: -settled[-1].bytes[name])[:6]
    rows = [Row(Figure(f"{_short(name)}: size", "MB", [s.bytes[name] / 1e6 for s in settled])) for name in largest]
    rows += [Row(Figure(f"{_short(name)}: dead rows", "", [float(s.dead[name]) for s in settled])) for name in largest]
    for label, values in (
        ("a turn, p50", [s.turn_p50_ms for s in settled]),
        ("a turn, p99", [s.turn_p99_ms for s in settled]),
        ("steps behind", [float(s.behind) for s in settled]),
    ):
        if known := [value for value in values if value is not None]:
            rows.append(Row(Figure(label, "steps" if "steps" in label else "ms", known)))
    return Table("Tables and turns under load, after the warm-up", rows)


if __name__ == "__main__":
    main()
