"""The worker's loop on real Postgres: what it records, and what it never does."""

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.eventually import eventually_async

from workflow_engine.errors import TaskError
from workflow_engine.handlers.base import Handler, TaskContext
from workflow_engine.handlers.basic import transform
from workflow_engine.observability.logs import get_logger
from workflow_engine.observability.metrics import WORKER
from workflow_engine.settings import Settings, load_settings
from workflow_engine.store.turns import text_array
from workflow_engine.worker.turns import Turns

from .conftest import Engine, StartWorker


async def nothing(inputs: dict[str, Any], ctx: TaskContext) -> None:
    """A handler that does nothing."""


def chain(*steps: dict[str, Any], name: str = "test", **fields: Any) -> dict[str, Any]:
    """A definition whose steps follow each other."""
    linked = [
        {**step, **({"depends_on": [steps[position - 1]["id"]]} if position else {})}
        for position, step in enumerate(steps)
    ]
    return {"name": name, "steps": linked, **fields}


async def test_outputs_flow_through_expressions_to_the_workflows_output(
    engine: Engine, start_worker: StartWorker
) -> None:
    async def double(inputs: dict[str, Any], ctx: TaskContext) -> dict[str, Any]:
        return {"value": inputs["n"] * 2}

    document = chain(
        {"id": "first", "type": "double", "inputs": {"n": "${ input.n }"}},
        {"id": "second", "type": "double", "inputs": {"n": "${ steps.first.output.value }"}},
    )
    async with start_worker({"double": double}):
        workflow = await engine.ended(await engine.start(document, {"n": 5}))
    assert (workflow.status, workflow.output) == ("succeeded", {"second": {"value": 20}})


async def test_a_false_condition_skips_a_step_and_what_only_depends_on_it(
    engine: Engine, start_worker: StartWorker
) -> None:
    document = chain(
        {"id": "a", "type": "work"}, {"id": "b", "type": "work", "when": "input.go"}, {"id": "c", "type": "work"}
    )
    async with start_worker({"work": nothing}):
        workflow = await engine.ended(await engine.start(document, {"go": False}))
    tasks = await engine.store.workflows.tasks(str(workflow.id))
    assert [task.status for task in tasks] == ["succeeded", "skipped", "skipped"]
    assert workflow.status == "succeeded"


async def test_a_failing_attempt_is_tried_again_and_its_history_kept(engine: Engine, start_worker: StartWorker) -> None:
    async def flaky(inputs: dict[str, Any], ctx: TaskContext) -> int:
        if ctx.attempt < 3:
            raise TaskError("http.503", "busy")
        return ctx.attempt

    document = chain({"id": "a", "type": "flaky", "retries": {"max_attempts": 3, "initial_delay": "10ms"}})
    async with start_worker({"flaky": flaky}):
        workflow = await engine.ended(await engine.start(document))
    assert workflow.output == {"a": 3}
    attempts = await engine.store.history.attempts(str(workflow.id))
    assert [attempt.outcome for attempt in attempts] == ["retried", "retried", "succeeded"]
    assert attempts[0].error is not None
    assert attempts[0].error["type"] == "http.503"


async def test_a_task_that_takes_too_long_fails_with_the_runbooks_phrase(
    engine: Engine, start_worker: StartWorker
) -> None:
    async def hang(inputs: dict[str, Any], ctx: TaskContext) -> None:
        await asyncio.Event().wait()

    document = chain({"id": "a", "type": "hang", "timeout": "50ms", "retries": 0})
    async with start_worker({"hang": hang}):
        workflow = await engine.ended(await engine.start(document))
    assert workflow.error is not None
    assert workflow.error["type"] == "timeout"
    assert "Task exceeded maximum runtime" in workflow.error["message"]


async def test_an_exception_of_a_handler_fails_its_task_and_nothing_else(
    engine: Engine, start_worker: StartWorker
) -> None:
    async def broken(inputs: dict[str, Any], ctx: TaskContext) -> None:
        raise ZeroDivisionError("division by zero")

    async with start_worker({"broken": broken, "work": nothing}):
        failed = await engine.ended(await engine.start(chain({"id": "a", "type": "broken", "retries": 0}, name="bad")))
        other = await engine.ended(await engine.start(chain({"id": "a", "type": "work"}, name="good")))
    assert failed.error is not None
    assert failed.error["type"] == "user.ZeroDivisionError"
    assert other.status == "succeeded"


async def test_an_output_that_is_not_json_fails_its_task_with_the_place(
    engine: Engine, start_worker: StartWorker
) -> None:
    async def unfit(inputs: dict[str, Any], ctx: TaskContext) -> dict[str, Any]:
        return {"deep": [1, object()]}

    async def meddles(inputs: dict[str, Any], ctx: TaskContext) -> None:
        ctx.usage.cost_usd = object()  # type: ignore[assignment]

    async with start_worker({"unfit": unfit, "meddles": meddles}):
        workflow = await engine.ended(await engine.start(chain({"id": "a", "type": "unfit"})))
        other = await engine.ended(await engine.start(chain({"id": "a", "type": "meddles"}, name="other")))
    assert other.error is not None
    assert other.error["type"] == "serialization_error"
    assert workflow.error is not None
    assert workflow.error["type"] == "serialization_error"
    assert workflow.error["details"]["pointer"] == "/deep/1"


async def test_a_worker_never_runs_more_tasks_than_it_has_slots(
    engine: Engine, start_worker: StartWorker, settings: Settings
) -> None:
    running, most = 0, 0

    async def counted(inputs: dict[str, Any], ctx: TaskContext) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    two = load_settings(DATABASE_URL=settings.database_url, REDIS_URL=settings.redis_url, WORKER_CONCURRENCY=2)
    document = {"name": "wide", "steps": [{"id": f"s{n}", "type": "counted"} for n in range(20)]}
    async with start_worker({"counted": counted}, two):
        workflow = await engine.ended(await engine.start(document))
    assert workflow.status == "succeeded"
    assert most == 2


async def test_cancelling_a_workflow_stops_its_running_handler_at_once(
    engine: Engine, start_worker: StartWorker
) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def long(inputs: dict[str, Any], ctx: TaskContext) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with start_worker({"long": long}):
        workflow_id = await engine.start(chain({"id": "a", "type": "long"}))
        await asyncio.wait_for(started.wait(), 10)
        await engine.store.control.cancel(workflow_id)
        await asyncio.wait_for(stopped.wait(), 5)  # well before the next heartbeat
    assert (await engine.store.workflows.get(workflow_id)).status == "cancelled"


async def test_a_draining_worker_hands_its_tasks_back_without_spending_a_try(
    engine: Engine, start_worker: StartWorker, settings: Settings
) -> None:
    started = asyncio.Event()

    async def long(inputs: dict[str, Any], ctx: TaskContext) -> None:
        started.set()
        await asyncio.Event().wait()

    impatient = load_settings(
        DATABASE_URL=settings.database_url, REDIS_URL=settings.redis_url, WORKER_SHUTDOWN_TIMEOUT=0
    )
    workflow_id = await engine.start(chain({"id": "a", "type": "work"}))
    async with start_worker({"work": long}, impatient):
        await asyncio.wait_for(started.wait(), 10)
    (task,) = await engine.store.workflows.tasks(workflow_id)
    assert task.status == "pending"
    assert [attempt.outcome for attempt in await engine.store.history.attempts(workflow_id)] == ["released"]

    async with start_worker({"work": nothing}):
        assert (await engine.ended(workflow_id)).status == "succeeded"
    assert await engine.store.workers.list() == []  # both said goodbye


async def test_a_draining_worker_lets_its_tasks_finish_within_the_grace_time(
    engine: Engine, start_worker: StartWorker
) -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    async def patient(inputs: dict[str, Any], ctx: TaskContext) -> str:
        started.set()
        await finish.wait()
        return "done"

    workflow_id = await engine.start(chain({"id": "a", "type": "work"}))
    async with start_worker({"work": patient}) as worker:
        await asyncio.wait_for(started.wait(), 10)
        worker.drain()
        finish.set()
    assert (await engine.store.workflows.get(workflow_id)).output == {"a": "done"}


async def test_a_worker_told_to_stop_while_it_recycles_stops(engine: Engine, start_worker: StartWorker) -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    async def patient(inputs: dict[str, Any], ctx: TaskContext) -> str:
        started.set()
        await finish.wait()
        return "done"

    workflow_id = await engine.start(chain({"id": "a", "type": "work"}))
    async with start_worker({"work": patient}) as worker:
        await asyncio.wait_for(started.wait(), 10)
        worker.recycle()
        assert worker.recycling
        worker.stop()
        assert not worker.recycling
        finish.set()  # the first word to stop leaves what runs its time
    assert (await engine.store.workflows.get(workflow_id)).output == {"a": "done"}


async def test_a_worker_that_is_held_back_claims_nothing_until_it_may_go_on(
    engine: Engine, start_worker: StartWorker
) -> None:
    async def shown(status: str, reason: str | None) -> bool:
        (listed,) = await engine.store.workers.list()
        return (listed.status, listed.status_reason) == (status, reason)

    async with start_worker({"work": nothing}) as worker:
        await eventually_async(engine.store.workers.list)
        worker.hold_back("memory")
        await eventually_async(lambda: shown("draining", "memory"))
        workflow_id = await engine.start(chain({"id": "a", "type": "work"}))
        await asyncio.sleep(0.2)
        assert (await engine.store.workflows.get(workflow_id)).status == "pending"
        worker.go_on()
        assert (await engine.ended(workflow_id)).status == "succeeded"
        assert await shown("active", None)


async def test_a_worker_that_postgres_forgot_registers_again_and_goes_on(
    engine: Engine, start_worker: StartWorker, settings: Settings
) -> None:
    async with start_worker({"work": nothing}):
        await eventually_async(engine.store.workers.list)
        with psycopg.connect(settings.database_url, autocommit=True) as connection:
            connection.execute("delete from workflow.workers")
            connection.execute("delete from procrastinate_workers")
        assert (await engine.ended(await engine.start(chain({"id": "a", "type": "work"})))).status == "succeeded"


async def test_connections_cut_under_way_lose_nothing_and_run_nothing_twice(
    engine: Engine, start_worker: StartWorker, settings: Settings
) -> None:
    calls: list[str] = []

    async def counted(inputs: dict[str, Any], ctx: TaskContext) -> None:
        calls.append(ctx.task_id)

    document = {"name": "many", "steps": [{"id": f"s{n}", "type": "counted"} for n in range(200)]}
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        async with start_worker({"counted": counted}):
            workflow_id = await engine.start(document)
            for _ in range(5):
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and application_name = 'workflow-engine worker'"
                )
                await asyncio.sleep(0.02)
            workflow = await engine.ended(workflow_id)
        twice = connection.execute(
            "select task_id from workflow.attempts where outcome = 'succeeded' group by 1 having count(*) > 1"
        ).fetchall()
    assert workflow.status == "succeeded"
    assert twice == []
    assert len(set(calls)) == 200


async def test_without_notifications_polling_alone_gets_the_work_done(
    engine: Engine, start_worker: StartWorker, settings: Settings
) -> None:
    quiet = load_settings(
        DATABASE_URL=settings.database_url,
        REDIS_URL=settings.redis_url,
        WORKFLOW_LISTEN_NOTIFY=False,
        WORKFLOW_POLL_SECONDS=0.05,
    )
    async with start_worker({"work": nothing}, quiet):
        await eventually_async(engine.store.workers.list)
        workflow = await engine.ended(
            await engine.start(chain({"id": "a", "type": "work"}, {"id": "b", "type": "work"}))
        )
    assert workflow.status == "succeeded"


async def test_a_wake_up_that_arrives_while_an_empty_turn_is_in_flight_is_not_lost(
    engine: Engine, start_worker: StartWorker, settings: Settings
) -> None:
    # With a poll of a minute, only wake-ups can start these in time; each start meets the worker in another phase.
    slow = load_settings(DATABASE_URL=settings.database_url, REDIS_URL=settings.redis_url, WORKFLOW_POLL_SECONDS=60)
    async with start_worker({"work": nothing}, slow):
        await eventually_async(engine.store.workers.list)
        for number in range(40):
            workflow = await engine.ended(await engine.start(chain({"id": "a", "type": "work"}, name=f"n{number % 3}")))
            assert workflow.status == "succeeded"


@pytest.mark.parametrize("outcome", ["user", "step", "default"])
async def test_timeouts_are_taken_in_order_of_precedence(
    engine: Engine, start_worker: StartWorker, settings: Settings, outcome: str
) -> None:
    async def tell(inputs: dict[str, Any], ctx: TaskContext) -> float:
        return ctx.timeout

    document = chain({"id": "a", "type": "tell", **({"timeout": "7s"} if outcome == "step" else {})})
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        async with start_worker({"tell": tell}):
            await eventually_async(engine.store.workers.list)
            if outcome == "user":
                connection.execute("update workflow.task_types set timeout = 9 where name = 'tell'")
            workflow = await engine.ended(await engine.start(document))
    assert workflow.output == {"a": {"user": 9, "step": 7, "default": settings.task_timeout}[outcome]}


@pytest.mark.parametrize(("says", "tries"), [("step", 1), ("type", 2), ("handler", 4)])
async def test_tries_are_taken_in_order_of_precedence(
    engine: Engine, start_worker: StartWorker, says: str, tries: int
) -> None:
    async def fail(inputs: dict[str, Any], ctx: TaskContext) -> None:
        raise TaskError("http.503", "busy", retry_after=0.0)

    document = chain({"id": "a", "type": "fail_often", **({"retries": 0} if says == "step" else {})})
    async with start_worker({"fail_often": Handler("fail_often", fail, timeout=30.0, max_attempts=4)}):
        await eventually_async(engine.store.workers.list)
        registered = await engine.store.task_types.get("fail_often")
        assert (registered.handler_timeout, registered.handler_max_attempts) == (30.0, 4)
        if says != "handler":
            await engine.store.task_types.update("fail_often", {"max_attempts": 2})
        workflow = await engine.ended(await engine.start(document))
    attempts = await engine.store.history.attempts(str(workflow.id))
    assert (workflow.status, len(attempts)) == ("failed", tries)


async def test_a_step_of_a_chain_is_one_turn(engine: Engine, start_worker: StartWorker, settings: Settings) -> None:
    def turns() -> float:
        return WORKER.get_sample_value("workflow_worker_turns_total", {"result": "ok"}) or 0

    slow = load_settings(DATABASE_URL=settings.database_url, REDIS_URL=settings.redis_url, WORKFLOW_POLL_SECONDS=60)
    document = chain(*({"id": f"s{number}", "type": "work"} for number in range(20)))
    async with start_worker({"work": nothing}, slow):
        await eventually_async(engine.store.workers.list)
        await engine.ended(await engine.start(document))  # reads the plan
        before = turns()
        await engine.ended(await engine.start(document))
        taken = turns() - before
    # One claims the first step, and each ends a step and claims the next; one more where a wake-up is late.
    assert taken <= 20 + 2


def test_names_reach_postgres_as_they_are(settings: Settings) -> None:
    names = ("default", 'odd "one", \\ {}', "", "null", "ü")
    with psycopg.connect(settings.database_url) as connection:
        row = connection.execute("select %s::text[]", [text_array(names)]).fetchone()
    assert row == (list(names),)


async def test_a_turn_is_one_round_trip_with_one_statement(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    turns = Turns(settings.database_url, lease_seconds=30.0, held=set, log=get_logger("test"))
    taken = partial(turns.take, 1, [], queues=["default"], types=["work"], want=1)
    await taken()  # connects and prepares
    assert turns._connection is not None
    trace = tmp_path / "trace"
    with trace.open("wb") as file:
        turns._connection.pgconn.trace(file.fileno())
        await taken()
        turns._connection.pgconn.untrace()
    await turns.close()
    sent = [line.split("\t")[3] for line in trace.read_text().splitlines() if line.split("\t")[1] == "F"]
    assert sent == ["Bind", "Describe", "Execute", "Sync"]


async def test_a_worker_asks_ever_more_rarely_for_what_another_transaction_holds(
    engine: Engine, start_worker: StartWorker, settings: Settings
) -> None:
    def turns() -> float:
        return WORKER.get_sample_value("workflow_worker_turns_total", {"result": "ok"}) or 0

    async def asked_eight_times() -> bool:
        return turns() >= before + 8

    workflow_id = await engine.start(chain({"id": "a", "type": "work"}))
    with psycopg.connect(settings.database_url) as holder:
        holder.execute("select 1 from workflow.tasks where workflow_id = %s for update", [workflow_id])
        async with start_worker({"work": nothing}):
            await eventually_async(engine.store.workers.list)
            before, started = turns(), time.monotonic()
            await eventually_async(asked_eight_times)
            took = time.monotonic() - started  # at a steady pace of 5 ms: some 40 ms
            holder.rollback()
            assert (await engine.ended(workflow_id)).status == "succeeded"
    assert took > 0.2


async def test_what_a_handler_logs_is_stored_with_its_attempt(
    engine: Engine, start_worker: StartWorker, configured: None
) -> None:
    async def chatty(inputs: dict[str, Any], ctx: TaskContext) -> None:
        ctx.log.info("begun", size=3)
        ctx.log.debug("below the level")
        if ctx.attempt == 1:
            ctx.log.bind(part="second").warning("not \x00 well")
            raise TaskError("user.again", "once more")

    document = chain({"id": "a", "type": "chatty", "retries": {"max_attempts": 2, "initial_delay": "10ms"}})
    async with start_worker({"chatty": chatty, "quiet": nothing}):
        workflow = await engine.ended(await engine.start(document))
        other = await engine.ended(await engine.start(chain({"id": "a", "type": "quiet"}, name="quiet")))
    kept = {
        (event.attempt, event.type): [(line["message"], line["fields"]) for line in event.lines]
        for event in await engine.store.history.log(str(workflow.id))
        if event.lines
    }
    assert kept == {
        (1, "task.retried"): [("begun", {"size": 3}), ("not \ufffd well", {"part": "second"})],
        (2, "task.succeeded"): [("begun", {"size": 3})],
    }
    assert not any(event.lines for event in await engine.store.history.log(str(other.id)))


async def test_maps_loops_and_children_are_the_workers_own_business(engine: Engine, start_worker: StartWorker) -> None:
    async def add_one(inputs: dict[str, Any], ctx: TaskContext) -> int:
        return int(inputs["n"]) + 1

    child = {"name": "doubled", "steps": [{"id": "d", "type": "transform", "value": "${ input.n * 2 }"}],
             "output": "${ steps.d.output }"}  # fmt: skip
    document = chain(
        {"id": "each", "type": "add_one", "inputs": {"n": "${ iteration == 1 ? item : last }"},
         "for_each": {"items": "${ input.l }", "concurrency": 2}, "loop": {"until": "result >= 3"}},
        {"id": "child", "type": "workflow",
         "inputs": {"definition": child, "input": {"n": "${ sum(steps.each.output) }"}}},
    )  # fmt: skip
    async with start_worker({"add_one": add_one, "transform": transform}):
        workflow = await engine.ended(await engine.start(document, {"l": [0, 1, 7]}))
    assert (workflow.status, workflow.output) == ("succeeded", {"child": 28})
