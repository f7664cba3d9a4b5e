"""A long line for a lock, a limit, a rate or a key costs those at its head alone, with plans from empty tables."""

from collections.abc import Iterator
from typing import Any

import pytest

from .engine import Claim, Engine, rated
from .visits import BATCH, WORKFLOWS, rows_visited


@pytest.fixture
def database(database_url: str) -> str:
    """A fresh one: tables that once were large are not small again for the planner."""
    return database_url


@pytest.fixture
def lined(engine: Engine, other: Engine) -> Iterator[Engine]:
    """As `grown`, with steps under a lock and a limit: hundreds wait in line, others are held by a pause."""
    engine.leave_unanalysed("workflow.workflows", "workflow.tasks", "workflow.waits", "workflow.holds", "workflow.jobs")
    engine.define({"a": {"locks": ["ledger"], "limits": {"some": (5, 1)}}, "b": ["a"]})
    engine.define({"a": {"workflow_locks": ["whole"]}}, name="whole")
    for _ in range(8):
        for _ in range(3):
            engine.start()
            engine.start("whole")
        for _ in range(3):
            engine.finish(*(c.succeeded() for c in engine.claim()))
            engine.lock_waits()
        engine.sweep_waiters()
        engine.sweep_held()
        workflow = engine.start()
        engine.claim()
        engine.release_locks(workflow)
        engine.pause_workflow(workflow)
        engine.claim()
        engine.resume_workflow(workflow)
        engine.finish(*(c.failed() for c in engine.claim()))
        engine.cancel(engine.start())
        engine.pause()
        engine.sweep_held()
        engine.resume()
        while claims := engine.claim():
            engine.finish(*(c.skipped() for c in claims))
    other.start_many([{"name": "flow"}] * WORKFLOWS)
    yield engine
    engine.run("analyze")


def test_who_frees_a_lock_and_who_takes_it_visit_the_head_of_the_line_only(lined: Engine) -> None:
    claims = lined.claim(BATCH)
    assert [c.step for c in claims] == ["a"]
    while lined.claim(200) or lined.rows("select 1 from workflow.jobs where scheduled_at is null and status = 'todo'"):
        pass  # all the others get in line
    with rows_visited(lined, 150):
        turn = lined.turn([claims[0].succeeded()], want=BATCH)
    assert {c.step for c in lined.claims_of(turn)} == {"a", "b"}
    with rows_visited(lined, 700):  # 200 places of a line whose head lacks something else
        assert lined.sweep_waiters()["woken"] == 0
    with rows_visited(lined, 150):
        assert lined.lock_waits() == set()
    with rows_visited(lined, 150):
        lined.release_locks(next(c.workflow for c in lined.claims_of(turn) if c.step == "a"))
    (waiting, *_) = lined.line("ledger")
    with rows_visited(lined, 150):
        lined.pause_workflow(waiting)
    with rows_visited(lined, 150):
        lined.resume_workflow(waiting)
    with rows_visited(lined, 150):
        lined.cancel(waiting)


def test_holding_back_visits_so_many_jobs_as_it_is_told(lined: Engine) -> None:
    lined.run("update workflow.engine set paused_at = workflow.clock()")
    with rows_visited(lined, 20 * BATCH):
        assert lined.sweep_held(limit=BATCH)["parked"] == BATCH
    lined.run("update workflow.engine set paused_at = null")
    with rows_visited(lined, 20 * BATCH):
        assert lined.sweep_held(limit=BATCH)["unparked"] == BATCH


@pytest.fixture
def queued(engine: Engine, other: Engine) -> Iterator[Engine]:
    """As `grown`, with a thousand workflows in line for one concurrency key."""
    engine.leave_unanalysed("workflows", "tasks", "places", "start_keys")
    key = [{"path": ["input", "key"]}]
    plan = {
        "concurrency": [{"key": key, "limit": 2, "on_conflict": "queue"}],
        "idempotency": {"key": [{"path": ["input", "order"]}], "on_conflict": "return_existing", "ttl": 60},
    }
    engine.define({"a": []}, plan=plan)
    for n in range(8):
        for order in range(4):
            engine.start(input={"key": "k", "order": 4 * n + order})
        engine.start(input={"key": "k", "order": 4 * n})
        engine.cancel(engine.queued("k")[0])
        engine.pause_workflow(engine.queued("k")[0])
        engine.resume_workflow(engine.queued("k")[0])
        engine.finish(*(c.failed() for c in engine.claim()))
        (failed, *_) = engine.rows("select id from workflow.workflows where status = 'failed'")
        engine.retry(failed["id"])
        engine.value("select count(*) from workflow.why")
        engine.sweep_places()
        while claims := engine.claim():
            engine.finish(*(c.skipped() for c in claims))
    other.start_many([{"name": "flow", "input": {"key": "k", "order": -n}} for n in range(1, WORKFLOWS)])
    yield engine
    engine.run("analyze")


def test_a_long_line_for_a_concurrency_key_costs_neither_starts_nor_ends(queued: Engine) -> None:
    claims = queued.claim(BATCH)
    assert len(claims) == 2
    with rows_visited(queued, 150):
        turn = queued.turn([claims[0].succeeded()], want=BATCH)
    (next_one,) = queued.claims_of(turn)
    with rows_visited(queued, 60):
        workflow = queued.start(input={"key": "k", "order": 1000})
    with rows_visited(queued, 60):
        assert queued.start(input={"key": "k", "order": 1000}) == workflow
    with rows_visited(queued, 1100):  # the first thousand in line are counted
        assert queued.value("select workflow.pending_reason(%s)", workflow).startswith("queued_behind:")
    waiting = queued.queued("k")[10]
    with rows_visited(queued, 150):
        queued.cancel(waiting)
    with rows_visited(queued, 150):
        assert queued.sweep_places()["entered"] == 0
    queued.finish(claims[1].released(), next_one.released())


@pytest.fixture
def bounded(engine: Engine, other: Engine) -> Iterator[Engine]:
    """As `grown`, with a rate, budgets and a retention: a thousand workflows, most of them in line for the rate."""
    engine.leave_unanalysed("workflows", "tasks", "waits", "holds", "attempt_history")
    engine.define(
        {"a": {"resources": [rated("api", 4, 3600)]}, "b": ["a"]},
        plan={"budget": {"tokens": {"hard": 10**9}}, "retention": {"succeeded": 86400}},
    )
    for n in range(8):
        engine.set_clock(f"{2 * n} hours")
        for _ in range(6):
            engine.start()
        for _ in range(3):
            engine.finish(*(use(c) for c in engine.claim()))
            engine.sweep_waiters()
            engine.wake_rated()
        engine.value("select count(*) from workflow.why")
        engine.value("select workflow.sweep_budgets()")
        engine.value("select workflow.sweep_retention('{}', 20)")
        for row in engine.rows("select id from workflow.workflows where finished_at is null"):
            engine.cancel(row["id"])
    engine.set_clock("20 hours")
    other.set_clock("20 hours")
    other.start_many([{"name": "flow"}] * WORKFLOWS)
    yield engine
    engine.run("analyze")


def use(claim: Claim) -> dict[str, Any]:
    return {**claim.succeeded(), "effects": {"usage": {"input_tokens": 1}}}


def test_rates_budgets_and_retention_cost_what_is_at_hand(bounded: Engine) -> None:
    claims = bounded.claim(BATCH)
    assert len(claims) == 4
    while bounded.claim(200) or bounded.rows(
        "select 1 from workflow.jobs where scheduled_at is null and status = 'todo'"
    ):
        pass  # all the others get in line
    with rows_visited(bounded, 150):
        turn = bounded.turn([use(claims[0])], want=BATCH)
    assert [c.step for c in bounded.claims_of(turn)] == ["b"]
    with rows_visited(bounded, 60):
        waiting = bounded.start()
    with rows_visited(bounded, 150):
        bounded.cancel(waiting)
    with rows_visited(bounded, 150):
        bounded.value("select workflow.sweep_budgets()")
    with rows_visited(bounded, 5 * BATCH):
        bounded.value("select workflow.sweep_retention('{}', %s, %s)", BATCH, BATCH)
    bounded.set_clock("22 hours")
    with rows_visited(bounded, 700):
        assert bounded.wake_rated() == 4
    with rows_visited(bounded, 300):
        turn = bounded.turn(want=BATCH)
    assert len(turn["claims"]) == 4
    bounded.set_clock("50 hours")
    with rows_visited(bounded, 200):
        bounded.value("select workflow.sweep_retention('{}', %s, %s)", BATCH, BATCH)
