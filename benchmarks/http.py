"""The API's hot routes: starts per second while two workers drain, the latency of `?wait`, reads; and starts by SQL.

One engine process and two workers, all with default settings. Beside it, in the same rounds: single-INSERT commits by
pgbench with one and with 16 clients.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from benchmarks import commits, definitions
from benchmarks.floor import way_of_a_step
from benchmarks.http_client import Drive, drive, request
from benchmarks.profiles import Profile
from benchmarks.report import Figure, Row, Table
from benchmarks.server import Server, engine, workers
from benchmarks.workload import Meter
from workflow_engine.errors import StackUnavailable
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store

_PATH = "/api/v1/workflows"
_SINGLE_GOAL = 500.0  # workflows per second
_BATCH_GOAL = 4000.0
_WAIT_GOALS_MS = (8.0, 15.0)  # median and 95th percentile
_QUIET_SECONDS = 120.0
_LOOK_SECONDS = 0.05
_ROUNDS = 3
_WAITS_IN_A_ROW = 20
_WARM_UP = 100  # of them before those that count: plans are made


@dataclass
class Kind:
    """One kind of request and what came of it, round by round."""

    label: str
    act: Callable[[int], Drive]  # does it so many times
    count: int
    workflows: int = 1  # per request
    drives: list[Drive] = field(default_factory=list)
    engine_cpu: list[float] = field(default_factory=list)  # seconds
    server_cpu: list[float] = field(default_factory=list)

    @property
    def rate(self) -> Figure:
        unit = "wf/s" if self.workflows else "req/s"
        per_request = self.workflows or 1
        return Figure(self.label, unit, [self.count * per_request / one.seconds for one in self.drives])


def measure(server: Server, profile: Profile) -> list[Table]:
    pgbench = commits.find_pgbench(server)
    limits = {n: Figure(f"single-INSERT commits, {n} client{'s' * (n > 1)}", "commits/s") for n in (1, 16)}
    with server.empty_database() as commits_url, server.engine_database() as url:
        commits.prepare(commits_url)
        asyncio.run(_register(url))
        with engine(url) as (port, engine_pid), workers(url):
            with way_of_a_step(commits_url, port) as floor:  # before the load, whose dead rows are vacuumed for a while
                _waits(port, _WARM_UP, floor)
                waits = _waits(port, 20 * profile.chains, floor)
            kinds = list(_kinds(url, port, profile.load_factor))
            for kind in kinds:  # plans are made, caches warm
                kind.act(max(kind.count // 10, 1))
            _await_quiet(url)
            for _ in range(_ROUNDS):
                for clients, figure in limits.items():
                    figure.values.append(commits.commits_per_second(pgbench, commits_url, clients=clients, seconds=1))
                for kind in kinds:
                    _measure(kind, Meter([engine_pid], server.postmaster))
                    _await_quiet(url)
    return [
        Table(
            "API and SQL: starts while two workers drain, and reads; one engine process, default settings",
            [Row(figure) for figure in limits.values()] + [_rate_row(kind, limits) for kind in kinds],
        ),
        Table("CPU per request", [row for kind in kinds for row in _cost_rows(kind)]),
        Table(f"Latency of ?wait, {20 * profile.chains} one-step workflows one after the other, idle system", waits),
    ]


async def _register(database_url: str) -> None:
    pool = Pool(database_url, size=1)
    await pool.open()
    try:
        await Store(pool).definitions.register(definitions.single())
    finally:
        await pool.close()


def _kinds(database_url: str, port: int, factor: int) -> Iterator[Kind]:
    def http(wanted: bytes, connections: int = 1) -> Callable[[int], Drive]:
        return lambda count: drive(port, wanted, connections=connections, count=count)

    document = dict(definitions.single().document)
    by_name = request("POST", _PATH, {"name": document["name"], "input": {"x": 1}})
    for connections, count in ((1, 200), (16, 600), (64, 600)):
        label = f"POST by name, {connections} connection{'s' * (connections > 1)}"
        yield Kind(label, http(by_name, connections), count * factor)
    whole = request("POST", _PATH, {**document, "input": {"x": 1}})
    yield Kind("POST with its definition, 16 connections", http(whole, 16), 600 * factor)
    for size, count in ((100, 20), (500, 6)):
        batch = request("POST", f"{_PATH}/batch", [{"name": document["name"], "input": {"x": 1}}] * size)
        yield Kind(f"POST batch of {size}, 4 connections", http(batch, 4), count * factor, size)
    name = str(document["name"])
    yield Kind("select workflow.start(), one connection", lambda count: _start(database_url, name, count), 300 * factor)
    yield Kind("start_many of 1,000", lambda count: _start_many(database_url, name, 1000, count), 3 * factor, 1000)
    started = json.loads(drive(port, by_name, connections=1, count=1).last)
    yield Kind("GET one, 16 connections", http(request("GET", f"{_PATH}/{started['id']}"), 16), 600 * factor, 0)
    yield Kind("GET a page of 100, 16 connections", http(request("GET", _PATH), 16), 100 * factor, 0)


def _start(database_url: str, name: str, count: int) -> Drive:
    return _statements(database_url, b"select workflow.start(%s, '{\"x\": 1}')", [name], count)


def _start_many(database_url: str, name: str, size: int, count: int) -> Drive:
    starts = json.dumps([{"name": name, "input": {"x": 1}}] * size)
    return _statements(database_url, b"select workflow.start_many(%s::jsonb)", [starts], count)


def _statements(database_url: str, statement: bytes, parameters: list[Any], count: int) -> Drive:
    done = Drive()
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=0) as connection:
        cpu, begin = time.process_time(), time.perf_counter()
        for _ in range(count):
            sent = time.perf_counter()
            connection.execute(statement, parameters)
            done.latencies.append(time.perf_counter() - sent)
        done.seconds, done.cpu = time.perf_counter() - begin, time.process_time() - cpu
    return done


def _measure(kind: Kind, meter: Meter) -> None:
    engine_cpu, server_cpu = meter.worker_cpu(), meter.server_cpu()
    kind.drives.append(kind.act(kind.count))
    kind.engine_cpu.append(meter.worker_cpu() - engine_cpu)
    if server_cpu is not None:
        kind.server_cpu.append(max((meter.server_cpu() or 0) - server_cpu, 0))


def _await_quiet(database_url: str) -> None:
    """Wait until the workers have drained everything."""
    deadline = time.monotonic() + _QUIET_SECONDS
    with psycopg.connect(database_url, autocommit=True) as connection:
        while True:
            row = connection.execute("select exists (select 1 from workflow.workflows where finished_at is null)")
            if not (row.fetchone() or [True])[0]:
                return
            if time.monotonic() > deadline:
                raise StackUnavailable("The workers did not drain what was started")
            time.sleep(_LOOK_SECONDS)


def _waits(port: int, count: int, go_floor: Callable[[], float]) -> list[Row]:
    """How long a client waits for a workflow of one step, beside what the machine needs for that way at least, and
    where that time goes by the database's clock."""
    floor = Figure("the floor: an answer, 3 commits, 2 words", "ms")
    total = Figure("?wait, from request to answer", "ms")
    claimed = Figure("of it from the start's transaction to the claim", "ms")
    ended = Figure("of it from the claim to the end", "ms")
    rest = Figure("of it the rest: HTTP, the start, the word of the end", "ms")
    name = definitions.single().name
    wanted = request("POST", f"{_PATH}?wait=10", {"name": name})
    bodies: list[bytes] = []
    latencies: list[float] = []
    for _ in range(count // _WAITS_IN_A_ROW):
        latencies += drive(port, wanted, connections=1, count=_WAITS_IN_A_ROW, on_answer=bodies.append).latencies
        floor.values += [go_floor() for _ in range(_WAITS_IN_A_ROW)]
    for latency, body in zip(latencies, bodies, strict=True):
        workflow = json.loads(body)
        created, started, finished = (
            datetime.fromisoformat(workflow[moment]) for moment in ("created_at", "started_at", "finished_at")
        )
        total.values.append(latency * 1000)
        claimed.values.append((started - created).total_seconds() * 1000)
        ended.values.append((finished - started).total_seconds() * 1000)
        rest.values.append(total.values[-1] - claimed.values[-1] - ended.values[-1])
    p95 = Figure("?wait, p95", "ms", [total.percentile(0.95)])
    median, tail = _WAIT_GOALS_MS
    return [
        Row(floor),
        Row(
            total,
            (("x the floor", total.ratio_to(floor)),),
            goal=f"median <= {median:g} ms",
            met=total.median <= median,
        ),
        Row(p95, goal=f"<= {tail:g} ms", met=p95.median <= tail),
        Row(claimed),
        Row(ended),
        Row(rest),
    ]


def _rate_row(kind: Kind, limits: Mapping[int, Figure]) -> Row:
    rate = kind.rate
    ratios = tuple((f"x commits at {n}", rate.ratio_to(limit)) for n, limit in limits.items())
    if not kind.label.startswith("POST"):
        return Row(rate, ratios if kind.workflows else ())
    goal = _SINGLE_GOAL if kind.workflows == 1 else _BATCH_GOAL
    if kind.label.endswith(" 1 connection"):
        return Row(rate, ratios)
    return Row(rate, ratios, goal=f">= {goal:g} wf/s", met=rate.median >= goal)


def _cost_rows(kind: Kind) -> Iterator[Row]:
    def per_request(name: str, seconds: list[float]) -> Row:
        return Row(Figure(f"{kind.label}: {name}", "us", [1e6 * one / kind.count for one in seconds]))

    if not kind.label.startswith(("select", "start_many")):
        yield per_request("engine", kind.engine_cpu)
    if kind.server_cpu:
        yield per_request("Postgres, all of it", kind.server_cpu)
    yield per_request("this client", [one.cpu for one in kind.drives])
