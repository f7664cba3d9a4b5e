"""Starts workflows, waits until they have ended, checks that they ended well, and says what that cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from workflow_engine.definition.plan import CompiledDefinition
from workflow_engine.errors import StackUnavailable
from workflow_engine.records import WorkflowStart
from workflow_engine.store.store import Store

_LOOK_SECONDS = 0.02
_LIMIT_SECONDS = 300.0


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
    """Start `count` workflows in one commit, so that idle workers see all at once, and wait for their end.

    Raises:
        StackUnavailable: Some did not succeed, or a step ran more than once.
    """
    meter = meter or Meter()
    started, _ = await store.workflows.start([WorkflowStart(definition.name)] * count)
    worker_cpu, server_cpu = meter.worker_cpu(), meter.server_cpu()
    position = await store.pool.value("select pg_current_wal_insert_lsn()::text")
    async with asyncio.timeout(_LIMIT_SECONDS):
        live = True
        while live:
            await asyncio.sleep(_LOOK_SECONDS)
            live = await store.pool.value("select exists (select 1 from workflow.workflows where finished_at is null)")
    wal_bytes = await store.pool.value("select pg_current_wal_insert_lsn() - %s::pg_lsn", [position])
    worker_cpu = meter.worker_cpu() - worker_cpu
    if server_cpu is not None:
        server_cpu = max((meter.server_cpu() or 0) - server_cpu, 0)

    ids = [workflow.id for workflow in started]
    succeeded, seconds = await store.pool.value(
        "select jsonb_build_array(count(*) filter (where status = 'succeeded'),"
        " extract(epoch from max(finished_at) - min(started_at))) from workflow.workflows where id = any(%s)",
        [ids],
    )
    attempts = await store.pool.value(
        "select count(*) from workflow.attempt_history h join workflow.tasks t on t.id = h.task_id"
        " where t.workflow_id = any(%s)",
        [ids],
    )
    expected = count * len(definition.plan.steps)
    if (succeeded, attempts) != (count, expected):
        raise StackUnavailable(f"{succeeded} of {count} succeeded with {attempts} attempts, not {expected}")
    return Cost(float(seconds), worker_cpu, server_cpu, int(wal_bytes))


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # a backend that has just ended
        return 0.0
    return float(times.user + times.system)
