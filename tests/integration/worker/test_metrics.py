"""What a worker exports about itself."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from prometheus_client import CollectorRegistry, Gauge
from support.eventually import eventually_async

from workflow_engine.handlers.base import TaskContext
from workflow_engine.observability.loop_lag import LoopLag
from workflow_engine.observability.metrics import WORKER

from .conftest import Engine, StartWorker


async def test_what_runs_is_counted_by_its_type_and_a_type_that_does_not_run_is_0(
    engine: Engine, start_worker: StartWorker
) -> None:
    go = asyncio.Event()

    async def wait(inputs: dict[str, Any], ctx: TaskContext) -> None:
        await go.wait()

    def running(type: str) -> float | None:
        return WORKER.get_sample_value("workflow_tasks_running", {"type": type})

    async def both_run() -> bool:
        return running("held") == 2

    steps = [{"id": "a", "type": "held"}, {"id": "b", "type": "held"}]
    async with start_worker({"held": wait, "idle": wait}):
        workflow = await engine.start({"name": "held", "steps": steps})
        await eventually_async(both_run)
        assert running("idle") == 0
        go.set()
        await engine.ended(workflow)

        async def none_runs() -> bool:
            return running("held") == 0

        await eventually_async(none_runs)


async def test_each_outcome_of_each_type_is_there_before_it_happens(start_worker: StartWorker) -> None:
    async def nothing(inputs: dict[str, Any], ctx: TaskContext) -> None:
        return None

    async with start_worker({"never_run": nothing}):
        for state in ("succeeded", "failed", "retried", "skipped", "released", "cancelled"):
            labels = {"type": "never_run", "state": state}
            assert WORKER.get_sample_value("workflow_tasks_completed_total", labels) == 0
        assert WORKER.get_sample_value("workflow_task_timeouts_total", {"type": "never_run"}) == 0


async def test_a_loop_that_was_blocked_shows_how_late_it_was_and_while_it_is() -> None:
    gauge = Gauge("lag", "Of this test", registry=CollectorRegistry())
    lag = LoopLag(gauge)
    assert lag.worst == 0
    running = asyncio.create_task(lag.run())
    await asyncio.sleep(0)
    blocked = time.monotonic()
    while lag.now < 0.1:  # on the loop's own thread, so that it stands still
        assert time.monotonic() < blocked + 10
    assert lag.worst >= 0.1

    async def in_time() -> bool:
        return lag.now == 0

    await eventually_async(in_time)
    assert gauge.collect()[0].samples[0].value >= 0.1, "it is remembered for the next scrape"
    running.cancel()
    await asyncio.wait([running])
    assert lag.now == 0, "nobody waits for a loop that has ended"
