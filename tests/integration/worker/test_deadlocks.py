"""The leader finds workflows that wait for each other's locks; workers run the steps."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.eventually import eventually_async

from workflow_engine.handlers.base import TaskContext
from workflow_engine.maintenance.deadlocks import Deadlocks
from workflow_engine.maintenance.leader import duties
from workflow_engine.observability.metrics import ENGINE
from workflow_engine.settings import Settings

from .conftest import Engine, StartWorker


async def nothing(inputs: dict[str, Any], ctx: TaskContext) -> None:
    return None


def crossing(name: str, mine: str, other: str) -> dict[str, Any]:
    lock = {"scope": "workflow"}
    return {
        "name": name,
        "steps": [
            {"id": "take", "type": "nothing", "locks": [{"key": mine, **lock}]},
            {"id": "meet", "type": "meet", "depends_on": ["take"]},
            {"id": "want", "type": "nothing", "depends_on": ["meet"], "locks": [{"key": other, **lock}]},
        ],
    }


async def deadlocked(engine: Engine, start_worker: StartWorker) -> list[str]:
    """Two workflows that wait for each other; the worker is gone when they do."""
    both = asyncio.Barrier(2)

    async def meet(inputs: dict[str, Any], ctx: TaskContext) -> None:
        await both.wait()

    async with start_worker({"nothing": nothing, "meet": meet}):
        workflows = [await engine.start(crossing("one", "x", "y")), await engine.start(crossing("two", "y", "x"))]

        async def stand_still() -> bool:
            return len(await engine.store.locks.deadlocks()) == 1

        assert await eventually_async(stand_still)
    return sorted(workflows)


def counted() -> float:
    return ENGINE.get_sample_value("workflow_deadlocks_detected_total") or 0.0


async def test_a_circle_is_told_in_the_runbooks_words_once_in_thirty_seconds(
    engine: Engine, start_worker: StartWorker, settings: Settings
) -> None:
    first, second = await deadlocked(engine, start_worker)
    time = [0.0]
    before = counted()
    duty = Deadlocks(settings, engine.store, now=lambda: time[0])
    with capture_logs() as told:
        for moment in (0.0, 5.0, 29.0, 31.0):
            time[0] = moment
            assert await duty.sweep_once() == {"broken": 0}
    assert {(line["log_level"], line["event"]) for line in told} == {
        ("warning", f"Circular dependency detected: {first} -> {second} -> {first}")
    }
    assert [line["workflow_id"] for line in told] == [first, second] * 2
    assert counted() == before + 1
    graph = await engine.store.locks.deadlocks()
    assert [tuple(map(str, found.workflows)) for found in graph] == [(first, second)]


async def test_a_circle_is_broken_where_the_setting_says_so_and_the_other_workflow_succeeds(
    engine: Engine, start_worker: StartWorker, settings: Settings
) -> None:
    workflows = await deadlocked(engine, start_worker)
    (deadlock,) = await engine.store.locks.deadlocks()
    duty = Deadlocks(settings.model_copy(update={"deadlock_detection": "true"}), engine.store)
    assert await duty.sweep_once() == {"broken": 1}
    assert await duty.sweep_once() == {"broken": 0}
    async with start_worker({"nothing": nothing, "meet": nothing}):
        ended = {workflow: await engine.ended(workflow) for workflow in workflows}
    victim = str(deadlock.youngest.waiter)
    assert {workflow: found.status for workflow, found in ended.items()} == {
        workflow: "failed" if workflow == victim else "succeeded" for workflow in workflows
    }
    error = ended[victim].error
    assert error is not None
    assert (error["type"], error["details"]["cycle"][0]) == ("deadlock", error["details"]["cycle"][-1])


@pytest.mark.parametrize("mode", ["off", "warn", "true"])
def test_the_setting_decides_whether_anyone_looks(engine: Engine, settings: Settings, mode: str) -> None:
    found = duties(settings.model_copy(update={"deadlock_detection": mode}), engine.store)
    assert any(isinstance(duty, Deadlocks) for duty in found) == (mode != "off")
