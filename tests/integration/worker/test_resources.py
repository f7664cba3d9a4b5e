"""Workers that run steps under locks and limits."""

import asyncio
from typing import Any

from workflow_engine.handlers.base import TaskContext
from workflow_engine.settings import Settings

from .conftest import Engine, StartWorker


class Counter:
    """A handler that knows how many of it run at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    async def __call__(self, inputs: dict[str, Any], ctx: TaskContext) -> int:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)  # the work
        self.now -= 1
        return self.now


async def test_two_workers_never_run_more_than_a_lock_or_limit_allows_and_finish_everything(
    engine: Engine, start_worker: StartWorker, settings: Settings
) -> None:
    locked, limited, free = Counter(), Counter(), Counter()
    document = {
        "name": "shared",
        "steps": [
            {"id": "locked", "type": "locked", "locks": ["ledger"]},
            {"id": "limited", "type": "limited", "limits": [{"key": "openai", "concurrency": 3}]},
            {"id": "free", "type": "free", "depends_on": ["locked", "limited"]},
        ],
    }
    workflows = [await engine.start(document) for _ in range(20)]
    handles = {"locked": locked, "limited": limited, "free": free}
    async with start_worker(handles), start_worker(handles):
        ended = [await engine.ended(workflow) for workflow in workflows]
    assert {workflow.status for workflow in ended} == {"succeeded"}
    assert locked.most == 1
    assert 1 < limited.most <= 3
    assert await engine.store.locks.list() == []


async def test_a_released_lock_stops_the_holder_at_once_and_the_next_one_goes_on(
    engine: Engine, start_worker: StartWorker
) -> None:
    started: asyncio.Queue[str] = asyncio.Queue()
    begun: list[int] = []
    stopped = asyncio.Event()

    async def hold(inputs: dict[str, Any], ctx: TaskContext) -> str:
        begun.append(ctx.attempt)
        started.put_nowait(ctx.workflow_id)
        if len(begun) == 1:  # the next one may begin before this one is stopped
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()
        return "done"

    document = {"name": "stuck", "steps": [{"id": "hold", "type": "hold", "locks": ["ledger"], "retries": 0}]}
    async with start_worker({"hold": hold}):
        first = await engine.start(document)
        assert await started.get() == first
        second = await engine.start(document)
        released = await engine.store.locks.release(first)
        assert (released.locks, released.tasks) == (["ledger"], 1)
        await asyncio.wait_for(stopped.wait(), 5)
        assert (await engine.ended(second)).status == "succeeded"
        assert (await engine.ended(first)).status == "succeeded"
