"""Endings, children and deadlines cost what their own workflow costs, with plans made when the tables were empty."""

from collections.abc import Iterator

import pytest

from .engine import Claim, Engine
from .nested import child, define, step
from .visits import BATCH, BIG_TABLES, rows_visited

TABLES = (*BIG_TABLES, "endings", "compensations", "deadlines", "scopes")
OTHERS = 1000


@pytest.fixture
def database(database_url: str) -> str:
    """A fresh one: tables that once were large are not small again for the planner."""
    return database_url


def sweep(engine: Engine) -> None:
    engine.value("select workflow.sweep_timed_out()")
    engine.value("select workflow.sweep_deadlines()")
    engine.value("select workflow.sweep_children()")


@pytest.fixture
def grown(engine: Engine) -> Iterator[Engine]:
    engine.leave_unanalysed("workflow.workflows", "workflow.tasks", "workflow.attempt_history", "workflow.jobs")
    timeouts = {"schedule_to_start": 600, "schedule_to_close": 6000}
    define(
        engine,
        {
            "pay": step(compensation="undo"),
            "call": step(["pay"]),
            "undo": step(kind="compensation"),
            "on_failure": step(kind="on_failure"),
            "on_exit": step(kind="on_exit"),
        },
        name="parent",
    )
    define(
        engine,
        {"work": step(timeouts=timeouts), "output": step(kind="output", timeouts=timeouts)},
        name="child",
        plan={"timeout": 3600},
    )
    for _ in range(8):  # Postgres keeps a generic plan from the sixth call on
        parent = engine.start("parent")
        engine.finish(engine.claim_one("pay").succeeded())
        engine.finish(child(engine.claim_one("call")))
        if engine.value("select count(*) from workflow.workflows") % 2:
            engine.cancel(parent)
        while claims := engine.claim():
            engine.finish(*(c.failed() if c.step == "call" else c.succeeded() for c in claims))
        sweep(engine)
    engine.start_many([{"name": "parent"}] * OTHERS)
    engine.start_many([{"name": "child"}] * OTHERS)
    yield engine
    engine.run("analyze")


def begin(engine: Engine) -> list[Claim]:
    """Children of a batch of parents, about to end."""
    pay = engine.claim(BATCH)
    call = engine.claims_of(engine.turn([c.succeeded() for c in pay], want=0))
    engine.run("update workflow.jobs set priority = 9 where (args ->> 'task_id')::bigint = any(%s)",
               [c.task_id + 1 for c in pay])  # fmt: skip
    call = engine.claim(BATCH)
    engine.finish(*(child(c) for c in call))
    engine.run(
        "update workflow.jobs set priority = 9 where (args ->> 'task_id')::bigint in ("
        " select t.id from workflow.tasks t join workflow.workflows w on w.id = t.workflow_id"
        " where w.parent_id is not null)"
    )
    return engine.claim(BATCH)


def test_ends_of_children_visit_them_and_their_parents(grown: Engine) -> None:
    children = begin(grown)
    assert {c.step for c in children} == {"work"}
    with rows_visited(grown, 30 * BATCH, TABLES):
        grown.finish(*(c.succeeded() for c in children))
    grown.run("update workflow.jobs set priority = 10 where (args ->> 'task_id')::bigint = any(%s)",
              [c.task_id + 1 for c in children])  # fmt: skip
    outputs = grown.claim(BATCH)
    assert {c.step for c in outputs} == {"output"}
    with rows_visited(grown, 40 * BATCH, TABLES):
        grown.finish(*(c.succeeded() for c in outputs))


def test_a_parent_that_fails_visits_itself_and_its_children(grown: Engine) -> None:
    (work, *_) = begin(grown)
    parent = grown.value("select parent_id from workflow.workflows where id = %s", work.workflow)
    with rows_visited(grown, 120, TABLES):
        grown.cancel(parent)
    with rows_visited(grown, 120, TABLES):
        sweep(grown)


def test_the_leader_visits_what_is_out_of_time(grown: Engine) -> None:
    with rows_visited(grown, 50, TABLES):
        sweep(grown)
    grown.set_clock("601 seconds")
    grown.value("select workflow.sweep_deadlines(100)")  # some are of tasks that ended long ago
    with rows_visited(grown, 40 * BATCH, TABLES):
        assert grown.value(f"select workflow.sweep_deadlines({BATCH})")["schedule_to_start"] == BATCH
    grown.set_clock("3601 seconds")
    with rows_visited(grown, 40 * BATCH, TABLES):
        assert grown.value(f"select workflow.sweep_timed_out({BATCH})") == BATCH
