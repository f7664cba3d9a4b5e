"""Throughput while another transaction on the engine's database stays open and holds a snapshot.

No row that it might still see can be cleaned away meanwhile: every job that was done and every earlier version of a
task stays where it was. The database with the transaction and one without take turns, under full load.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, ExitStack

import psycopg

from benchmarks.profiles import Profile
from benchmarks.report import Figure, Row, Table
from benchmarks.server import Server, metrics_ports, workers
from benchmarks.steady import SteadyLoad

_GOAL = 0.7
_SLOTS = 100
_WARM_SECONDS = 3.0
_SLICE_SECONDS = 3.0
_ROUNDS = 4


def measure(server: Server, profile: Profile) -> list[Table]:
    seconds = profile.held_seconds
    with ExitStack() as stack:
        urls, ports = [], []
        for _ in range(2):
            urls.append(stack.enter_context(server.engine_database()))
            ports.append(metrics_ports(2))
            stack.enter_context(workers(urls[-1], concurrency=_SLOTS, ports=ports[-1]))
        rows, dead = asyncio.run(_measure(urls, ports, seconds))
    return [
        Table(
            f"Full load while a transaction is held open for {seconds:.0f} s, two workers with {_SLOTS} slots",
            rows,
            [f"dead rows that could not be cleaned up at its end: {dead:,}"],
        )
    ]


async def _measure(urls: list[str], ports: list[list[int]], seconds: float) -> tuple[list[Row], int]:
    async with AsyncExitStack() as stack:
        free, held = [
            await stack.enter_async_context(SteadyLoad(url, group)) for url, group in zip(urls, ports, strict=True)
        ]
        for load in (free, held):
            await load.full(_WARM_SECONDS)
        rows = await _compare(free, held, "before it")
        with psycopg.connect(urls[1], application_name="bench held open") as transaction:
            transaction.execute("set transaction isolation level repeatable read")
            transaction.execute("select count(*) from workflow.definitions")
            meanwhile = Figure("while it is held, over time", "steps/s")
            begin = time.monotonic()
            while time.monotonic() - begin < seconds:
                meanwhile.values.append(await held.full(min(10.0, seconds)))
            rows.append(Row(meanwhile))
            rows += await _compare(free, held, "at its end", goal=True)
            dead = _dead_rows(urls[1])
        rows += await _compare(free, held, "after it")
    return rows, dead


async def _compare(free: SteadyLoad, held: SteadyLoad, when: str, *, goal: bool = False) -> list[Row]:
    without, with_it = Figure(f"{when}: the other database", "steps/s"), Figure(f"{when}: this database", "steps/s")
    for _ in range(_ROUNDS):
        without.values.append(await free.full(_SLICE_SECONDS))
        with_it.values.append(await held.full(_SLICE_SECONDS))
    ratio = with_it.ratio_to(without)
    met = ratio >= _GOAL if goal else None
    return [Row(without), Row(with_it, (("x other", ratio),), goal=f">= {_GOAL:g} x other" if goal else "", met=met)]


def _dead_rows(database_url: str) -> int:
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("select sum(n_dead_tup)::bigint from pg_stat_user_tables").fetchone()
    assert row is not None
    return int(row[0])
