"""Definitions that wait for the world outside, run by a worker on the real database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

from support.eventually import eventually_async

from workflow_engine.handlers.base import TaskContext

from .conftest import Engine, StartWorker

T = TypeVar("T")


async def until(look: Callable[[], Awaitable[T]]) -> T:
    found = await eventually_async(look, timeout=30)
    assert found is not None
    return found


async def test_signals_are_matched_and_collected_whenever_they_come(engine: Engine, start_worker: StartWorker) -> None:
    signals = engine.store.signals
    document = {
        "name": "payments",
        "steps": [
            {
                "id": "paid",
                "type": "signal",
                "inputs": {"name": "payment", "count": 2, "match": "event.payload.order == input.order"},
            },
            {"id": "sum", "type": "total", "inputs": {"events": "${ steps.paid.output }"}},
        ],
    }

    async def total(inputs: dict[str, Any], ctx: TaskContext) -> int:
        return sum(event["payload"]["amount"] for event in inputs["events"])

    workflow_id = await engine.start(document, {"order": 7})
    await signals.send(workflow_id, "payment", {"order": 7, "amount": 1}, by="before")
    await signals.send(workflow_id, "payment", {"order": 8, "amount": 100})
    async with start_worker({"total": total}):

        async def waits() -> bool:
            tasks = await engine.store.workflows.tasks(workflow_id)
            return tasks[0].status == "waiting"

        await until(waits)
        await signals.send(workflow_id, "payment", "no object at all")
        await signals.send(workflow_id, "payment", {"order": 7, "amount": 2}, by="after")
        workflow = await engine.ended(workflow_id)
    assert (workflow.status, workflow.output) == ("succeeded", {"sum": 3})
    taken = [signal.by for signal in await signals.list(workflow_id) if signal.taken_by]
    assert taken == ["before", "after"]


async def test_people_are_asked_and_their_answer_steers(engine: Engine, start_worker: StartWorker) -> None:
    approvals = engine.store.approvals
    document = {
        "name": "refunds",
        "steps": [
            {"id": "ask", "type": "approval", "prompt": "Refund ${ input.amount }?", "assignees": ["finance"]},
            {"id": "pay", "type": "pay", "depends_on": ["ask"], "when": "steps.ask.output.outcome == 'approved'"},
        ],
    }

    async def pay(inputs: dict[str, Any], ctx: TaskContext) -> None: ...

    async with start_worker({"pay": pay}):
        ids = [await engine.start(document, {"amount": amount}) for amount in (3, 4)]

        async def open_ones() -> list[Any]:
            found = await approvals.list(status=["open"])
            return found if len(found) == len(ids) else []

        asked = {str(approval.workflow_id): approval for approval in await until(open_ones)}
        assert [asked[id].prompt for id in ids] == ["Refund 3?", "Refund 4?"]
        for id, outcome in zip(ids, ("approved", "rejected"), strict=True):
            await approvals.answer(asked[id].id, outcome, None, "ann")
        for id in ids:
            await engine.ended(id)
    ends = [[task.status for task in await engine.store.workflows.tasks(id)] for id in ids]
    assert ends == [["succeeded", "succeeded"], ["succeeded", "skipped"]]


async def test_what_nobody_sends_or_answers_fails_or_goes_on_in_time(engine: Engine, start_worker: StartWorker) -> None:
    document = {
        "name": "impatient",
        "steps": [
            {"id": "ask", "type": "approval", "inputs": {"timeout": "200ms", "on_timeout": "continue"}},
            {"id": "pause", "type": "wait", "duration": "200ms"},
            {
                "id": "go",
                "type": "signal",
                "inputs": {"name": "go", "timeout": "300ms"},
                "depends_on": ["ask", "pause"],
            },
        ],
    }
    async with start_worker({}):
        workflow = await engine.ended(await engine.start(document))
    tasks = await engine.store.workflows.tasks(str(workflow.id))
    assert [task.status for task in tasks] == ["succeeded", "succeeded", "failed"]
    assert workflow.error is not None
    assert (workflow.error["type"], workflow.error["step"]) == ("timeout", "go")
    (approval,) = await engine.store.approvals.list(workflow_id=UUID(str(workflow.id)))
    assert approval.status == "expired"


async def test_a_workflow_wakes_another_by_what_it_emits(engine: Engine, start_worker: StartWorker) -> None:
    waits = {"name": "waits", "steps": [{"id": "go", "type": "signal", "inputs": {"name": "go"}}]}
    emits = {
        "name": "emits",
        "steps": [
            {
                "id": "tell",
                "type": "emit",
                "inputs": {"name": "go", "workflow_id": "${ input.to }", "payload": {"n": "${ input.n }"}},
            }
        ],
    }
    async with start_worker({}):
        waiting = await engine.start(waits)
        emitting = await engine.start(emits, {"to": waiting, "n": 3})
        assert (await engine.ended(emitting)).status == "succeeded"
        done, _ = await engine.store.outbox.deliver_signals()
        assert done["delivered"] == 1
        workflow = await engine.ended(waiting)
    assert workflow.output is not None
    event = workflow.output["go"]
    assert (event["payload"], event["by"]) == ({"n": 3}, f"workflow {emitting}")


async def test_timers_fire_when_they_are_due_and_never_early(engine: Engine, start_worker: StartWorker) -> None:
    document = {"name": "timers", "steps": [{"id": "w", "type": "wait", "duration": "1s"}]}
    async with start_worker({}):
        ids = await asyncio.gather(*(engine.start(document) for _ in range(20)))
        for id in ids:
            assert (await engine.ended(id)).status == "succeeded"
    outcomes = await engine.store.pool.value(
        "select array_agg(outcome order by attempt) from workflow.attempts where workflow_id = %s", [ids[0]]
    )
    assert outcomes == ["waiting", "succeeded"]
    late = await engine.store.pool.value(
        "select array[min(l), max(l)] from (select extract(epoch from b.started_at - a.ended_at)::float as l"
        " from workflow.attempts a join workflow.attempts b using (task_id) where a.attempt = 1 and b.attempt = 2) x"
    )
    assert late[0] >= 1.0
    assert late[1] < 10.0
