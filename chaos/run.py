"""One run: warm up, inflict faults, heal, let everything end, check, start everything again, check again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.cases import Cases
from chaos.checker import VERDICTS, Figures, Verdict, check
from chaos.client import Client
from chaos.cluster import Cluster
from chaos.driver import Driver
from chaos.faults import FAULTS
from chaos.faults import postgres as postgres_faults
from chaos.nemesis import Inflicted, Nemesis
from chaos.sampler import Sampler
from chaos.world import AWAY, World

_CALM_SECONDS = 2.0  # of load after the last fault
_STUCK_SECONDS = 60.0  # without any workflow ending
_OPEN = "select count(*) from workflow.workflows where finished_at is null"
_DIAGNOSIS = {
    "workflows": "select id, name, status, paused_at, queued_at, ending, open_tasks from workflow.workflows"
    " where finished_at is null limit 50",
    "tasks": "select id, workflow_id, path, status, attempt, crashes, worker_id, lease_until, scheduled_at, error"
    " from workflow.task_list where finished_at is null limit 100",
    "jobs": "select id, status, args, scheduled_at, worker_id from workflow.jobs limit 100",
    "workers": "select id, name, status, age_seconds, current_tasks from workflow.worker_list",
    "connections": "select pid, application_name, state, wait_event, xact_start, left(query, 120) as query"
    " from pg_stat_activity where datname = current_database()",
    "locks": "select pid, locktype, relation::regclass, mode, granted from pg_locks where not granted",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What to run."""

    seed: int
    minutes: float
    engines: int
    workers: int
    rate: float
    faults: tuple[str, ...]  # empty: all

    @property
    def warm_up_seconds(self) -> float:
        return min(max(self.minutes * 60 / 20, 5), 60)


@dataclass(slots=True)
class Result:
    """What a run has found."""

    options: Options
    verdict: Verdict
    figures: Figures
    inflicted: list[Inflicted]
    sampler: Sampler
    statuses: dict[int, int]
    bad: dict[str, int]
    restarts: dict[str, int]
    phases: dict[str, float]  # when each began, in seconds since the epoch
    database: dict[str, Any]

    @property
    def passed(self) -> bool:
        return not any(vars_of(self.verdict).values())


def vars_of(verdict: Verdict) -> dict[str, list[str]]:
    """The lists of a verdict by name."""
    return {name: getattr(verdict, name) for name in VERDICTS}


async def run(options: Options, directory: Path) -> Result:
    """Run everything, in servers of its own; it never outlives this process."""
    phases: dict[str, float] = {}

    def begin(phase: str) -> None:
        phases[phase] = time.time()
        print(f"{phase} ...", flush=True)

    begin("start")
    cluster = Cluster(directory, options.engines, options.workers)
    client = Client(cluster.engine_urls, options.seed)
    cases = Cases(options.seed, cluster.target_url)
    driver = Driver(client, cases, options.seed, options.rate)
    world = World(cluster, client, driver, options.seed)
    nemesis = Nemesis(world, options.faults)
    sampler = Sampler(world, nemesis)
    verdict = Verdict()
    try:
        await cluster.start()
        async with _aside(cluster.tend()):
            standing = await _prepare(world, cases)
            async with _aside(sampler.run()):
                async with _aside(driver.run()):
                    begin("warm-up")
                    await asyncio.sleep(options.warm_up_seconds)
                    begin("faults")
                    await nemesis.run(options.minutes * 60)
                    begin("heal")
                    await _heal(world)
                    await asyncio.sleep(_CALM_SECONDS)
                    driver.stop()
                await driver.finish()
                begin("drain")
                await _end_standing(world, standing)
                await _drain(world, verdict)
            begin("check")
            figures = await check(world, driver, nemesis.inflicted, verdict)
        begin("restart")
        await cluster.restart()
        await world.forget()
        begin("check again")
        again = Verdict()
        await check(world, driver, nemesis.inflicted, again)
        _add_news(verdict, again)
        verdict.trouble += [*cluster.trouble, *driver.trouble]
        _judge(verdict, nemesis.inflicted, sampler, client)
        begin("end")
        return Result(
            options=options,
            verdict=verdict,
            figures=figures,
            inflicted=nemesis.inflicted,
            sampler=sampler,
            statuses=dict(sorted(client.statuses.items())),
            bad=dict(driver.bad),
            restarts=cluster.restarts,
            phases=phases,
            database=await _database(world),
        )
    finally:
        await world.close()
        await client.close()
        await cluster.stop()


@asynccontextmanager
async def _aside(work: Any) -> AsyncIterator[None]:
    """Do something else meanwhile; what goes wrong with it is raised here."""
    task = asyncio.ensure_future(work)
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _prepare(world: World, cases: Cases) -> str:
    answer, _ = await world.client.insist(
        "POST", "/api/v1/definitions", until=time.monotonic() + 30, json=cases.schedule()
    )
    assert answer is not None, "no engine answered"
    assert answer.accepted, answer.body
    standing = await world.driver.start(cases.standing(), "standing")
    found = await world.rows("select id::text from workflow.tasks where workflow_id = %s", standing)
    world.standing = sorted(row["id"] for row in found)
    world.holding = await world.driver.start(cases.holding(), "holding")
    assert await world.find(world.holds_lock, 30), "a lock was not taken"
    return standing


async def _heal(world: World) -> None:
    """Undo what a fault may have left that failed half-way."""
    cluster = world.cluster
    for pid in [*cluster.processes().values(), *filter(None, [cluster.redis.pid])]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    for way in cluster.ways.values():
        way.heal()
        await way.accept()
    cluster.let_up()
    await world.find(lambda: world.value("select true"), 60)
    await postgres_faults.heal(world)
    await world.client.insist("POST", "/api/v1/resume", until=time.monotonic() + 60)


async def _end_standing(world: World, standing: str) -> None:
    until = time.monotonic() + 60
    await world.client.insist("DELETE", "/api/v1/definitions/chaos-tick", until=until)
    for workflow in (standing, world.holding):
        await world.client.insist("POST", f"/api/v1/workflows/{workflow}/cancel", until=until)


async def _drain(world: World, verdict: Verdict) -> None:
    """Wait until every workflow has ended. When none does for a minute, tell everything that is known of the rest."""
    least, since = 1 << 60, time.monotonic()
    while True:
        with suppress(*AWAY):
            left = int(await world.value(_OPEN))
            if left == 0:
                return
            if left < least:
                least, since = left, time.monotonic()
        if time.monotonic() - since > _STUCK_SECONDS:
            verdict.trouble.append(f"{least} workflows did not end; see diagnosis.txt")
            await _diagnose(world)
            return
        await asyncio.sleep(0.25)


async def _diagnose(world: World) -> None:
    """What there is to know about workflows that do not move; workers write their stacks to their logs."""
    for worker in world.cluster.workers:
        if worker.pid is not None:
            os.kill(worker.pid, signal.SIGUSR1)
    lines = []
    for name, query in _DIAGNOSIS.items():
        lines.append(f"\n# {name}")
        lines += [str(row) for row in await world.rows(query)]
    (world.cluster.directory / "diagnosis.txt").write_text("\n".join(lines) + "\n")


def _add_news(verdict: Verdict, again: Verdict) -> None:
    """What the second check has found and the first had not."""
    for name, found in vars_of(again).items():
        known = set(getattr(verdict, name))
        getattr(verdict, name).extend(f"after the restart: {each}" for each in found if each not in known)


def _judge(verdict: Verdict, inflicted: Sequence[Inflicted], sampler: Sampler, client: Client) -> None:
    verdict.server_errors += client.faults
    for violation in sampler.violations:
        during = f"during {violation.during}" if violation.during else "between faults"
        verdict.invariants.append(f"{during}: {violation.invariant}: workflow {violation.workflow}, {violation.found}")
    for one in inflicted:
        if not one.finding.proof:
            verdict.faults.append(f"{one.fault}: did not bite")
        verdict.faults += [f"{one.fault}: {wrong}" for wrong in one.finding.wrong]
    for name, recoveries in recoveries_of(inflicted).items():
        bound = FAULTS[name].bound
        if bound is not None and recoveries and percentile(recoveries, 0.95) > bound:
            verdict.slow.append(f"{name}: p95 {percentile(recoveries, 0.95):.2f} s, bound {bound:g} s")


def recoveries_of(inflicted: Sequence[Inflicted]) -> dict[str, list[float]]:
    """All recovery times by fault."""
    found: dict[str, list[float]] = {}
    for one in inflicted:
        found.setdefault(one.fault, []).extend(one.finding.recoveries)
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


async def _database(world: World) -> dict[str, Any]:
    """What Postgres says of itself."""
    [counts] = await world.rows(
        "select deadlocks, xact_commit, xact_rollback, pg_database_size(datname) as bytes"
        " from pg_stat_database where datname = current_database()"
    )
    tables = await world.rows(
        "select relname, n_live_tup as live, n_dead_tup as dead from pg_stat_user_tables"
        " order by n_dead_tup desc limit 5"
    )
    return {**counts, "tables": tables}
