"""Starts workflows, waits until they have ended, checks that they ended well, and says what that cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import psutil

from workflow_engine.definition.plan import CompiledDefinition
from workflow_engine.errors import StackUnavailable
from workflow_engine.records import WorkflowStart
from workflow_engine.store.store import Store

LOOK = "bench_look"  # marks our own queries, so that they are not counted as the engine's
_LOOK_SECONDS = 0.02
_LIMIT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Load:
    """So many workflows of a shape, each of so many tasks."""

    label: str
    definition: CompiledDefinition
    workflows: int
    tasks: int  # of one workflow

    @classmethod
    def of(cls, label: str, definition: CompiledDefinition, workflows: int, items: int = 0) -> Load:
        """`items` are those of a map, whose one step is in the plan twice: as the map and as its body."""
        tasks = 1 + items if items else len(definition.plan.steps)
        return cls(f"{workflows:,} {label}" if workflows > 1 else label, definition, workflows, tasks)

    @property
    def steps(self) -> int:
        return self.workflows * self.tasks

    def part(self, share: float) -> Load:
        """A smaller one of the same shape."""
        return replace(self, workflows=max(int(self.workflows * share), 1))


@dataclass(frozen=True, slots=True)
class Cost:
    """What running a load took, from the commit that started it on."""

    seconds: float  # from the first claim to the last completion, by the database's clock
    worker_cpu: float  # seconds, of all worker processes
    server_cpu: float | None  # seconds, of all server processes; None when the server is not ours
    wal_bytes: int


@dataclass(frozen=True, slots=True)
class Meter:
    """Reads the processor time of the processes involved."""

    workers: Sequence[int] = ()
    postmaster: int | None = None

    def worker_cpu(self) -> float:
        return sum(_cpu(psutil.Process(pid)) for pid in self.workers)

    def server_cpu(self) -> float | None:
        if self.postmaster is None:
            return None
        return sum(_cpu(process) for process in psutil.Process(self.postmaster).children())


async def run_workflows(store: Store, definition: CompiledDefinition, count: int, meter: Meter | None = None) -> Cost:
    """`run_loads` of one shape without maps."""
    return await run_loads(store, [Load.of("", definition, count)], meter)


async def run_loads(store: Store, loads: Sequence[Load], meter: Meter | None = None) -> Cost:
    """Start all workflows in one commit, so that idle workers see all at once, and wait for their end.

    Raises:
        StackUnavailable: Some did not succeed, or a step ran more than once.
    """
    meter = meter or Meter()
    started, _ = await store.workflows.start(
        [WorkflowStart(load.definition.name) for load in loads for _ in range(load.workflows)]
    )
    return await await_end(store, loads, [workflow.id for workflow in started], meter)


async def await_end(store: Store, loads: Sequence[Load], ids: Sequence[UUID], meter: Meter) -> Cost:
    """Wait for the end of workflows that were just started, and check them.

    Raises:
        StackUnavailable: Some did not succeed, or a step ran more than once.
    """
    worker_cpu, server_cpu = meter.worker_cpu(), meter.server_cpu()
    position = await store.pool.value(f"select pg_current_wal_insert_lsn()::text as {LOOK}")
    first = min(ids)  # ids are ordered by time: what was there before does not count
    async with asyncio.timeout(_LIMIT_SECONDS):
        live = True
        while live:
            await asyncio.sleep(_LOOK_SECONDS)
            live = await store.pool.value(  # of the newest alone: what lives besides may be a hundred thousand
                "select exists (select from (select id from workflow.workflows where finished_at is null"
                f" order by id desc limit 1) newest where id >= %s) as {LOOK}",
                [first],
            )
    wal_bytes = await store.pool.value(f"select pg_current_wal_insert_lsn() - %s::pg_lsn as {LOOK}", [position])
    worker_cpu = meter.worker_cpu() - worker_cpu
    if server_cpu is not None:
        server_cpu = max((meter.server_cpu() or 0) - server_cpu, 0)

    succeeded, seconds = await store.pool.value(
        "select jsonb_build_array(count(*) filter (where status = 'succeeded'),"
        f" extract(epoch from max(finished_at) - min(started_at))) as {LOOK}"
        " from workflow.workflows where id = any(%s)",
        [list(ids)],
    )
    # A map's own task has one attempt more, which made its items.
    tasks, attempts = await store.pool.value(
        f"select jsonb_build_array(count(*), coalesce(sum(a.attempts), 0)) as {LOOK} from workflow.tasks t"
        " cross join lateral (select count(*) as attempts from workflow.attempt_history h"
        " where h.workflow_id = t.workflow_id and h.task_id = t.id and h.outcome = 'succeeded' offset 0) a"
        " where t.workflow_id = any(%s)",
        [list(ids)],
    )
    expected = sum(load.steps for load in loads)
    if (succeeded, tasks, attempts) != (len(ids), expected, expected):
        raise StackUnavailable(
            f"{succeeded} of {len(ids)} workflows succeeded, with {tasks} tasks and {attempts} attempts, not {expected}"
        )
    return Cost(float(seconds), worker_cpu, server_cpu, int(wal_bytes))


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # a backend that has just ended
        return 0.0
    return float(times.user + times.system)
