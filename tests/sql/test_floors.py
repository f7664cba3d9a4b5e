"""Claims while nothing that ended can be cleaned up: they read what is ready, not what was claimed since."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from .engine import Engine, step

CLAIMED = 20_000
INDEX = "'workflow.jobs_ready'::regclass"
READ = f"select pg_stat_get_xact_tuples_returned({INDEX})"
FLOORS = "select nullif(current_setting('workflow.floors', true), '')"


@pytest.fixture
def database(database_url: str) -> str:
    """A fresh one: the snapshot that is held open here must not see what other tests left."""
    return database_url


@pytest.fixture
def held(engine: Engine, database: str) -> Iterator[Engine]:
    """An engine beside a transaction that holds its snapshot, since when a lot was claimed and has ended."""
    engine.define({"a": []})
    with psycopg.connect(database) as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("select 1")
        leave_behind(engine)
        yield engine


def leave_behind(engine: Engine, *, priority: int = 0, count: int = CLAIMED) -> None:
    """So many jobs are ready, claimed and gone, each in a transaction of its own."""
    engine.run(
        "insert into workflow.jobs (queue_name, task_name, args, priority)"
        " select 'default', 'workflow:noop', '{\"task_id\": 1}', %s from generate_series(1, %s)",
        priority,
        count,
    )
    engine.run("update workflow.jobs set status = 'doing' where args = '{\"task_id\": 1}'")
    engine.run("delete from workflow.jobs where args = '{\"task_id\": 1}'")


def settle_down(engine: Engine) -> None:
    """Let claims find out and set their floors, as they do within a few seconds; the clock stands at 10 s then."""
    for seconds in (0, 3, 6, 10):
        engine.set_clock(f"{seconds} seconds")
        engine.finish(*(c.succeeded() for c in engine.claim()))
    assert engine.value(FLOORS)


@contextmanager
def entries_read(engine: Engine, *, most: int | None = None, least: int = 0) -> Iterator[None]:
    """Fails when the statements inside read more or less of the index of ready jobs than they may."""
    with engine.transaction():
        before = engine.value(READ)
        yield
        read = engine.value(READ) - before
    assert least <= read
    assert most is None or read <= most


def test_a_turn_does_not_read_what_was_claimed_since_the_oldest_snapshot(held: Engine) -> None:
    with entries_read(held, least=CLAIMED):
        held.claim()
    settle_down(held)
    held.start_many([{"name": "flow"}] * 20)
    with entries_read(held, most=500):
        claims = held.claim(20)
    assert len(claims) == 20
    with entries_read(held, most=500):
        held.turn([c.succeeded() for c in claims], want=20)


def test_floors_rise_with_what_is_claimed(held: Engine) -> None:
    settle_down(held)
    for seconds in (11, 13, 14):
        leave_behind(held, count=3000)
        held.set_clock(f"{seconds} seconds")
        held.claim()
    with entries_read(held, most=4000):
        held.claim()


def test_what_gets_ready_at_any_priority_and_in_any_queue_is_found_at_once_and_in_order(held: Engine) -> None:
    held.define({"a": step(queue="other")}, name="other")
    leave_behind(held, priority=5, count=3000)
    settle_down(held)
    urgent = [held.start(priority=p) for p in (0, 9, 5, -3, 6, 5, 0)]
    other = held.start("other")
    claimed = [held.claim(1, queues=["default", "other"])[0] for _ in range(8)]
    assert claimed[-1].workflow == other
    found = [held.value("select priority from workflow.tasks where id = %s", c.task_id) for c in claimed]
    assert found[:-1] == [9, 6, 5, 5, 0, 0, -3]
    assert {c.workflow for c in claimed} == {*urgent, other}
    leave_behind(held, priority=7, count=3000)  # a priority of which nothing was known, and now is
    for seconds in (12, 14):
        held.set_clock(f"{seconds} seconds")
        held.start(priority=7)
        assert len(held.claim()) == 1
    with entries_read(held, most=1000):
        held.claim()


def test_woken_and_unparked_tasks_are_found_at_once_whatever_their_age(held: Engine) -> None:
    held.define({"a": step(locks=["ledger"])}, name="locked")
    scheduled, paused = held.start(), held.start()
    held.finish(*(c.retried(delay=3600) for c in held.claim()))
    later = held.value("select id from workflow.tasks where workflow_id = %s", scheduled)
    first, second = held.start("locked"), held.start("locked")
    (claim,) = held.claim()
    assert claim.workflow == first
    leave_behind(held)
    settle_down(held)
    urgent = held.start(priority=1)
    turn = held.turn([claim.succeeded()], want=100)
    assert {c.workflow for c in held.claims_of(turn)} == {urgent, second}
    held.retry_task(later, 60)
    assert [c.workflow for c in held.claim()] == [scheduled]
    held.set_clock("2 hours")
    held.wake_due()
    assert [c.workflow for c in held.claim()] == [paused]


def test_a_start_that_commits_late_is_found_within_seconds(held: Engine, connect: Callable[[], Engine]) -> None:
    slow = connect()
    settle_down(held)
    with slow.transaction():
        workflow = slow.start()
        for seconds in (12, 14):
            held.set_clock(f"{seconds} seconds")
            held.start()
            assert len(held.claim()) == 1
    assert held.claim() == []
    held.set_clock("16 seconds")
    assert [c.workflow for c in held.claim()] == [workflow]


def test_a_start_that_commits_within_a_second_is_found_at_once(held: Engine, connect: Callable[[], Engine]) -> None:
    slow = connect()
    settle_down(held)
    with slow.transaction():
        workflow = slow.start()
        held.start()
        held.set_clock("10.8 seconds")
        assert len(held.claim()) == 1
    held.set_clock("10.9 seconds")
    assert [c.workflow for c in held.claim()] == [workflow]


def test_claims_read_past_what_nobody_serves_and_others_serve_it(engine: Engine, connect: Callable[[], Engine]) -> None:
    engine.define({"a": step(type="http", priority=3)}, name="unserved")
    engine.define({"a": []})
    engine.start_many([{"name": "unserved"}] * 3000)
    started = engine.start()
    with entries_read(engine, least=3000):
        assert [c.workflow for c in engine.claim(types=["noop"])] == [started]
    for seconds in (3, 6):
        engine.set_clock(f"{seconds} seconds")
        assert engine.claim(types=["noop"]) == []
    started = engine.start()
    with entries_read(engine, most=100):
        assert [c.workflow for c in engine.claim(types=["noop"])] == [started]
    assert len(engine.claim(3000, types=["http"])) == 3000, "floors are of those who set them"
    assert connect().claim() == []


def test_floors_are_given_up_when_nothing_is_in_the_way_any_more(engine: Engine, database: str) -> None:
    engine.define({"a": []})
    with psycopg.connect(database) as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("select 1")
        leave_behind(engine)
        settle_down(engine)
    for seconds in (20, 30):
        engine.set_clock(f"{seconds} seconds")
        engine.start()
        engine.claim()
    assert engine.value(FLOORS) is None
    with entries_read(engine, most=100):
        engine.claim()
