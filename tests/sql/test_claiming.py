"""Who gets what: by queue, type and priority, never more than wanted, never twice; and when scheduled work is due."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from .engine import Engine, Spec


def started(engine: Engine, spec: Spec) -> None:
    engine.define(spec)
    engine.start()


def names(engine: Engine, want: int = 100, **options: object) -> list[str]:
    """Steps that a claim brings, in order; they are finished at once."""
    claims = engine.claim(want, **options)
    engine.finish(*(c.succeeded() for c in claims))
    return [c.step for c in claims]


def test_higher_priority_is_claimed_first_and_equals_in_order(engine: Engine) -> None:
    started(
        engine,
        {"low": {"priority": -1}, "first": {}, "second": {}, "high": {"priority": 5}, "third": {}},
    )
    assert [names(engine, 1) for _ in range(5)] == [["high"], ["first"], ["second"], ["third"], ["low"]]


def test_priority_of_the_workflow_is_added_to_that_of_its_steps(engine: Engine) -> None:
    engine.define({"a": {"priority": 3}})
    plain, urgent = engine.start(), engine.start(priority=10)
    assert [engine.claim(1)[0].workflow for _ in range(2)] == [urgent, plain]


def test_worker_claims_from_its_queues_in_their_order(engine: Engine) -> None:
    started(engine, {"slow": {"queue": "slow"}, "fast": {"queue": "fast", "priority": -9}, "default": {}})
    assert names(engine, queues=["fast"]) == ["fast"]
    assert names(engine, 1, queues=["slow", "default"]) == ["slow"]
    assert names(engine, queues=["slow", "default"]) == ["default"]


def test_worker_claims_only_types_it_can_run(engine: Engine) -> None:
    started(engine, {"call": {"type": "http", "priority": 9}, "join": {}})
    assert names(engine, types=["noop"]) == ["join"]
    assert names(engine, types=[]) == []
    assert names(engine, types=["http"]) == ["call"]


@pytest.mark.parametrize("want", [0, 1, 3])
def test_claim_brings_never_more_than_wanted(engine: Engine, want: int) -> None:
    started(engine, {f"s{n}": {"queue": f"q{n % 2}"} for n in range(8)})
    assert len(engine.claim(want, queues=["q0", "q1"])) == want


def test_two_connections_that_claim_at_once_never_get_the_same_task(
    engine: Engine, connect: Callable[[], Engine]
) -> None:
    started(engine, {f"s{n}": [] for n in range(60)})
    engines = [connect() for _ in range(4)]

    def drain(worker: Engine) -> list[int]:
        mine = []
        while claims := worker.turn(want=3):
            mine += [c["task_id"] for c in claims["claims"]]
            if not claims["claims"] and not claims["again"]:
                return mine
        raise AssertionError

    with ThreadPoolExecutor(4) as threads:
        claimed = [task for tasks in threads.map(drain, engines) for task in tasks]
    assert len(claimed) == len(set(claimed)) == 60


def test_claim_passes_over_what_another_transaction_is_claiming(engine: Engine, other: Engine) -> None:
    started(engine, {"a": [], "b": [], "c": []})
    with other.transaction():
        theirs = other.claim(1)
        turn = engine.turn(want=2)
        assert turn["claims"] == []
        assert turn["again"] is True, "the workflow is just being started"
    assert len(engine.claim(2)) == 2
    with other.transaction():
        other.finish(theirs[0].released())
        assert engine.turn(want=2) | {"next_due": None} == {
            "stale": [], "claims": [], "again": False, "registered": True, "next_due": None,
        }  # fmt: skip


def test_completions_come_before_claims_so_a_chain_goes_on_in_one_turn(engine: Engine) -> None:
    engine.define({"a": [], "b": ["a"]})
    workflow = engine.start()
    a = engine.claim_one()
    (b,) = engine.claims_of(engine.turn([a.succeeded()], want=1))
    assert b.step == "b"
    assert engine.turn([b.succeeded()], want=1)["claims"] == []
    assert engine.status(workflow) == "succeeded"


def test_first_claim_starts_the_workflow_once(engine: Engine) -> None:
    engine.define({"a": [], "b": []})
    workflow = engine.start()
    assert engine.workflow(workflow)["started_at"] is None
    engine.claim(1)
    started_at = engine.workflow(workflow)["started_at"]
    assert engine.status(workflow) == "running"
    engine.claim(1)
    assert engine.workflow(workflow)["started_at"] == started_at
    assert engine.events(workflow).count("workflow.started") == 1


def test_job_of_a_task_that_no_longer_waits_for_it_is_removed_when_met(engine: Engine) -> None:
    engine.run("insert into workflow.jobs (queue_name, task_name, args) values"
               " ('default', 'workflow:noop', '{\"task_id\": 1}'), ('default', 'workflow:noop', '{}')")  # fmt: skip
    assert engine.turn(want=5)["again"] is True
    assert engine.turn(want=5)["again"] is False
    assert engine.jobs() == []


def test_jobs_of_others_in_the_same_tables_are_left_alone(engine: Engine) -> None:
    engine.run("insert into procrastinate_jobs (queue_name, task_name) values ('default', 'mail'), ('default', 'noop')")
    assert engine.turn(want=5)["claims"] == []
    assert engine.sweep_leaked_jobs() == 0
    assert [job["task_name"] for job in engine.jobs()] == ["mail", "noop"]
    engine.run("delete from procrastinate_jobs")


def test_finished_work_leaves_nothing_in_the_tables_of_the_queue(engine: Engine) -> None:
    engine.define({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]})
    for _ in range(5):
        engine.start()
    while claims := engine.claim():
        engine.finish(*(c.succeeded() for c in claims))
    for table in ("procrastinate_jobs", "procrastinate_events"):
        assert engine.value(f"select count(*) from {table}") == 0


# Scheduled work -------------------------------------------------------------------------------------------------------


def test_turn_says_when_the_next_scheduled_task_is_due_and_then_claims_it(engine: Engine) -> None:
    started(engine, {"soon": [], "later": []})
    assert engine.turn()["next_due"] is None
    soon, later = engine.claim()
    turn = engine.turn([soon.retried(10), later.retried(60)], want=1)
    assert turn["claims"] == []
    assert turn["next_due"] == pytest.approx(10, abs=3)
    engine.set_clock("11 seconds")
    turn = engine.turn(want=5)
    assert [c["task_id"] for c in turn["claims"]] == [soon.task_id]
    assert turn["next_due"] == pytest.approx(49, abs=3)


def test_due_task_competes_by_priority_with_those_that_wait(engine: Engine) -> None:
    started(engine, {"again": {}, "urgent": {"priority": 5}})
    again = engine.claim_one("again")
    engine.finish(again.retried(10))
    engine.set_clock("11 seconds")
    assert names(engine, 1) == ["urgent"]
    assert names(engine, 1) == ["again"]


def test_next_due_looks_at_all_queues_of_the_worker(engine: Engine) -> None:
    started(engine, {"a": {"queue": "one"}, "b": {"queue": "two"}})
    claims = {c.step: c for c in engine.claim(queues=["one", "two"])}
    engine.finish(claims["a"].retried(100), claims["b"].retried(50))
    due = "select extract(epoch from workflow.next_due(%s) - workflow.clock())"
    assert float(engine.value(due, ["one"])) == pytest.approx(100, abs=3)
    assert float(engine.value(due, ["one", "two"])) == pytest.approx(50, abs=3)
    assert engine.value(due, ["none"]) is None


def test_waking_is_limited_and_by_queue_or_in_all_of_them(engine: Engine) -> None:
    started(engine, {f"{queue}{n}": {"queue": queue} for queue in ("one", "two", "three") for n in range(3)})
    claims = engine.claim(queues=["one", "two", "three"])
    engine.finish(*(c.retried(10) for c in claims))
    assert engine.wake_due() == 0
    engine.set_clock("11 seconds")
    assert engine.wake_due(["two"], limit=2) == 2
    assert engine.wake_due(["two"]) == 1
    assert [engine.wake_due(limit=4) for _ in range(3)] == [4, 2, 0]


def test_waking_passes_over_a_task_that_is_being_cancelled(engine: Engine, other: Engine) -> None:
    engine.define({"a": []})
    held, free = engine.start(), engine.start()
    engine.finish(*(c.retried(10) for c in engine.claim()))
    engine.set_clock("11 seconds")
    with other.transaction():
        other.cancel(held)
        assert engine.wake_due() == 1
    assert engine.tasks(held) | engine.tasks(free) == {"a": "pending"}
    assert engine.tasks(held) == {"a": "cancelled"}


@pytest.mark.parametrize(("want", "told"), [(0, 1), (3, 1), (5, 0)])
def test_a_turn_tells_other_workers_once_of_the_jobs_that_it_makes_and_leaves(
    engine: Engine, other: Engine, want: int, told: int
) -> None:
    started(engine, {"a": [], **{f"b{n}": ["a"] for n in range(5)}})
    claim = engine.claim_one("a")
    other.run('listen "procrastinate_queue_v1#default"')
    assert len(engine.turn([claim.succeeded()], want=want)["claims"]) == want
    assert len(list(other.connection.notifies(timeout=0.5))) == told


def test_a_turn_that_is_given_older_work_tells_other_workers_of_what_it_makes(engine: Engine, other: Engine) -> None:
    started(engine, {"a": [], "b": ["a"]})
    claim = engine.claim_one("a")
    engine.start()
    other.run('listen "procrastinate_queue_v1#default"')
    (older,) = engine.claims_of(engine.turn([claim.succeeded()], want=1))
    assert older.workflow != claim.workflow
    assert len(list(other.connection.notifies(timeout=0.5))) == 1


def test_work_that_is_made_outside_of_a_turn_tells_the_workers(engine: Engine, other: Engine) -> None:
    started(engine, {"a": [], "b": ["a"]})
    claim = engine.claim_one("a")
    other.run('listen "procrastinate_queue_v1#default"')
    engine.run("select workflow.complete_task(%s, 1, %s, '1')", claim.task_id, claim.token)
    assert len(list(other.connection.notifies(timeout=0.5))) == 1


def test_waking_tells_the_workers_of_the_queue(engine: Engine, other: Engine) -> None:
    started(engine, {"a": []})
    engine.finish(engine.claim_one().retried(10))
    other.run('listen "procrastinate_queue_v1#default"')
    engine.set_clock("11 seconds")
    engine.wake_due()
    assert len(list(other.connection.notifies(timeout=5, stop_after=1))) == 1


def test_queue_depth_counts_jobs_by_what_they_wait_for(engine: Engine) -> None:
    started(engine, {"pending": [], "scheduled": [], "due": [], "running": []})
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["pending"].released(), claims["scheduled"].retried(60), claims["due"].retried(10))
    engine.set_clock("11 seconds")
    assert engine.rows("select * from workflow.queue_depth") == [
        {"queue": "default", "pending": 2, "scheduled": 1, "running": 1, "held": 0}
    ]
