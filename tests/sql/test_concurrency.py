"""Concurrency keys: so many workflows with a key run at a time; the commit that ends one lets the next one in."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg
import pytest

from .engine import Engine

CUSTOMER = [{"text": "customer:"}, {"path": ["input", "customer"]}]


def rule(limit: int = 1, on_conflict: str = "queue", key: Any = CUSTOMER) -> dict[str, Any]:
    return {"key": key, "limit": limit, "on_conflict": on_conflict}


def define(engine: Engine, *rules: Mapping[str, Any], name: str = "flow") -> None:
    engine.define({"a": [], "b": []}, name=name, plan={"concurrency": list(rules)})


def start(engine: Engine, customer: int = 1, **fields: Any) -> UUID:
    return engine.start(input={"customer": customer}, **fields)


def end(engine: Engine) -> list[UUID]:
    """Run everything that may run; the workflows that were claimed."""
    claims = engine.claim()
    engine.finish(*(c.succeeded() for c in claims))
    return sorted({c.workflow for c in claims})


def test_workflows_with_one_key_run_one_after_the_other_in_the_order_of_their_starts(engine: Engine) -> None:
    define(engine, rule())
    workflows = [start(engine) for _ in range(3)]
    another = start(engine, customer=2)
    assert [engine.status(w) for w in workflows] == ["pending"] * 3
    assert engine.held(workflows[1]) == {"a", "b"}
    assert engine.events(workflows[1]) == ["workflow.created", "workflow.queued"]
    assert end(engine) == sorted([workflows[0], another])
    assert engine.held(workflows[1]) == set()
    assert end(engine) == [workflows[1]]
    assert end(engine) == [workflows[2]]
    assert end(engine) == []


def test_the_next_in_line_is_let_in_by_the_commit_that_ends_the_one_before(engine: Engine, other: Engine) -> None:
    define(engine, rule())
    first, second = start(engine), start(engine)
    claims = engine.claim()
    with engine.transaction():
        engine.finish(*(c.succeeded() for c in claims))
        assert other.claim() == []
    assert {c.workflow for c in other.claim()} == {second}
    assert engine.status(first) == "succeeded"


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
def test_it_does_not_matter_how_the_one_before_ends(engine: Engine, how: str) -> None:
    define(engine, rule())
    first, second = start(engine), start(engine)
    if how == "fails":
        engine.finish(engine.claim()[0].failed())
    else:
        engine.cancel(first)
    assert end(engine) == [second]


def test_the_line_is_one_of_priorities_first(engine: Engine) -> None:
    define(engine, rule())
    start(engine)
    low, high, same = start(engine, priority=-1), start(engine, priority=5), start(engine, priority=5)
    assert engine.queued("customer:1") == [high, same, low]


def test_as_many_run_as_the_limit_says(engine: Engine) -> None:
    define(engine, rule(limit=2))
    workflows = [UUID(s["id"]) for s in engine.start_many([{"name": "flow", "input": {"customer": 1}}] * 5)["started"]]
    assert engine.entered("customer:1") == workflows[:2]
    assert engine.queued("customer:1") == workflows[2:]
    assert end(engine) == sorted(workflows[:2])
    assert engine.entered("customer:1") == workflows[2:4]


def test_definitions_that_name_one_key_share_it_and_each_obeys_its_own_limit(engine: Engine) -> None:
    define(engine, rule(limit=2), name="wide")
    define(engine, rule(limit=1), name="narrow")
    wide, narrow = start(engine, name="wide"), start(engine, name="narrow")
    behind = start(engine, name="wide")
    assert engine.entered("customer:1") == [wide]
    assert engine.queued("customer:1") == [narrow, behind], "nobody overtakes"
    assert end(engine) == [wide]
    assert engine.entered("customer:1") == [narrow, behind]


def test_a_workflow_enters_all_its_keys_or_none_and_one_that_lacks_another_key_is_passed_over(engine: Engine) -> None:
    region = [{"path": ["input", "region"]}]
    define(engine, rule(), rule(key=region))
    one = engine.start(input={"customer": 1, "region": "eu"})
    both = engine.start(input={"customer": 1, "region": "us"})
    us = engine.start(input={"customer": 2, "region": "us"})
    assert engine.entered("us") == [us]
    assert engine.queued("us") == [both]
    engine.cancel(one)
    assert engine.entered("customer:1") == []
    assert engine.queued("customer:1") == [both], "us is taken"
    engine.cancel(us)
    assert engine.entered("customer:1") == engine.entered("us") == [both]


def test_reject_names_the_workflow_that_runs_and_leaves_nothing(engine: Engine) -> None:
    define(engine, rule(on_conflict="reject"))
    first = start(engine)
    before = engine.snapshot()
    with pytest.raises(psycopg.Error, match=str(first)) as error:
        start(engine)
    assert (error.value.sqlstate, error.value.diag.message_detail) == ("WF409", "concurrency-limit")
    assert error.value.diag.constraint_name == str(first)
    assert engine.snapshot() == before
    end(engine)
    start(engine)


def test_a_batch_in_which_one_is_rejected_starts_nothing(engine: Engine) -> None:
    define(engine, rule(on_conflict="reject", limit=2))
    with pytest.raises(psycopg.Error, match="2 at a time may"):
        engine.start_many([{"name": "flow", "input": {"customer": 1}}] * 3)
    assert engine.value("select count(*) from workflow.workflows") == 0


def test_cancel_running_takes_the_place_of_the_oldest(engine: Engine) -> None:
    define(engine, rule(on_conflict="cancel_running", limit=2))
    first, second = start(engine), start(engine)
    claims = engine.claim()
    third = start(engine)
    assert engine.status(first) == "cancelled"
    assert str(third) in engine.workflow(first)["error"]["message"]
    assert engine.entered("customer:1") == [second, third]
    stale = engine.finish(*(c.succeeded() for c in claims if c.workflow == first))
    assert len(stale) == 2
    engine.finish(*(c.released() for c in claims if c.workflow == second))


def test_in_a_batch_the_last_of_those_that_cancel_each_other_stays(engine: Engine) -> None:
    define(engine, rule(on_conflict="cancel_running"))
    started = engine.start_many([{"name": "flow", "input": {"customer": 1}}] * 3)["started"]
    assert [engine.status(UUID(s["id"])) for s in started] == ["cancelled", "cancelled", "pending"]


def test_who_takes_a_place_goes_before_those_in_line(engine: Engine) -> None:
    define(engine, rule())
    define(engine, rule(on_conflict="cancel_running"), name="urgent")
    first, waiting = start(engine), start(engine)
    urgent = start(engine, name="urgent")
    assert engine.status(first) == "cancelled"
    assert engine.entered("customer:1") == [urgent]
    assert engine.queued("customer:1") == [waiting]


def test_one_in_line_can_be_cancelled(engine: Engine) -> None:
    define(engine, rule())
    first, second, third = start(engine), start(engine), start(engine)
    engine.cancel(second)
    assert engine.queued("customer:1") == [third]
    assert end(engine) == [first]
    assert end(engine) == [third]


def test_one_that_is_paused_in_line_is_passed_over_and_gets_in_when_it_is_resumed(engine: Engine) -> None:
    define(engine, rule())
    _, second, third = start(engine), start(engine), start(engine)
    engine.pause_workflow(second)
    end(engine)
    assert engine.entered("customer:1") == [third]
    engine.resume_workflow(second)
    assert engine.held(second) == {"a", "b"}
    assert end(engine) == [third]
    assert end(engine) == [second]


def test_one_that_is_resumed_in_line_when_a_place_is_free_gets_in_at_once(engine: Engine) -> None:
    define(engine, rule())
    start(engine)
    second = start(engine)
    engine.pause_workflow(second)
    end(engine)
    assert engine.entered("customer:1") == []
    engine.resume_workflow(second)
    assert end(engine) == [second]


def test_a_retry_gets_in_line_again(engine: Engine) -> None:
    define(engine, rule())
    first = start(engine)
    engine.finish(engine.claim()[0].failed())
    second = start(engine)
    engine.retry(first)
    assert engine.queued("customer:1") == [first]
    assert engine.held(first) == {"a", "b"}
    assert end(engine) == [second]
    assert end(engine) == [first]


def test_a_retry_on_a_version_without_keys_is_not_in_line(engine: Engine) -> None:
    define(engine, rule())
    start(engine)
    second = start(engine)
    engine.cancel(second)
    engine.define({"a": []}, plan={})
    engine.pin(second, 2)
    engine.retry(second, force=True)
    assert second in {c.workflow for c in engine.claim()}


def test_a_retry_with_reject_is_refused_while_another_runs(engine: Engine) -> None:
    define(engine, rule(on_conflict="reject"))
    first = start(engine)
    engine.finish(engine.claim()[0].failed())
    second = start(engine)
    with pytest.raises(psycopg.Error, match=str(second)):
        engine.retry(first)
    assert engine.status(first) == "failed"


def test_nothing_wakes_one_in_line_by_mistake(engine: Engine) -> None:
    define(engine, rule())
    start(engine)
    second = start(engine)
    engine.retry(second)
    engine.pause()
    engine.resume()
    engine.sweep_held()
    engine.sweep_places()
    assert engine.held(second) == {"a", "b"}
    # Even a job that became due is not claimed, and parked again.
    engine.run("update procrastinate_jobs set scheduled_at = null")
    claims = engine.claim()
    assert second not in {c.workflow for c in claims}
    assert engine.held(second) == {"a", "b"}
    engine.finish(*(c.succeeded() for c in claims))
    assert end(engine) == [second]


def test_in_a_paused_engine_one_is_let_in_but_not_begun(engine: Engine) -> None:
    define(engine, rule())
    start(engine)
    second = start(engine)
    claims = engine.claim()
    engine.pause()
    engine.finish(*(c.succeeded() for c in claims))
    assert engine.entered("customer:1") == [second]
    assert engine.claim() == []
    engine.resume()
    assert end(engine) == [second]


def test_whom_a_lock_kept_out_is_let_in_by_the_sweep(engine: Engine, other: Engine) -> None:
    define(engine, rule())
    start(engine)
    second = start(engine)
    claims = engine.claim()
    with other.transaction():
        other.value("select id from workflow.workflows where id = %s for no key update", second)
        engine.finish(*(c.succeeded() for c in claims))
        assert engine.claim() == []
        assert engine.sweep_places()["entered"] == 0
    assert engine.sweep_places() == {"entered": 1, "last": None}
    assert end(engine) == [second]


def test_keys_that_nobody_has_a_place_at_are_forgotten(engine: Engine) -> None:
    define(engine, rule())
    start(engine, customer=1)
    end(engine)
    start(engine, customer=2)
    assert engine.sweep_places() == {"entered": 0, "last": None}
    assert engine.rows("select key from workflow.concurrency_keys") == [{"key": "customer:2"}]


def test_of_many_starts_and_ends_at_once_never_more_run_than_may(engine: Engine, connect: Callable[[], Engine]) -> None:
    define(engine, rule(limit=2))
    starters, workers = [connect() for _ in range(3)], [connect() for _ in range(3)]

    def begin(starter: Engine) -> None:
        for _ in range(10):
            start(starter)

    def work(worker: Engine) -> None:
        for _ in range(40):
            claims = worker.claim(want=4)
            assert len(worker.entered("customer:1")) <= 2
            worker.finish(*(c.succeeded() for c in claims))

    with ThreadPoolExecutor(6) as threads:
        for future in [*(threads.submit(begin, s) for s in starters), *(threads.submit(work, w) for w in workers)]:
            future.result()
    for _ in range(100):
        engine.sweep_places()
        if not end(engine):
            break
    assert engine.value("select count(*) from workflow.workflows where status = 'succeeded'") == 30


def test_of_many_starts_at_once_that_cancel_each_other_one_is_left(
    engine: Engine, connect: Callable[[], Engine]
) -> None:
    define(engine, rule(on_conflict="cancel_running"))

    def begin(e: Engine) -> None:
        begun = 0
        while begun < 5:
            with suppress(psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):  # to be sent again
                start(e)
                begun += 1

    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(begin, connect()) for _ in range(4)]:
            future.result()
    assert engine.value("select count(*) from workflow.workflows where finished_at is null") == 1
    assert len(engine.entered("customer:1")) == 1


def test_a_start_waits_for_an_end_that_is_under_way(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[Any]"]
) -> None:
    define(engine, rule())
    start(engine)
    claims = engine.claim()
    with engine.transaction():
        engine.finish(*(c.succeeded() for c in claims))
        waiting = blocked(other, lambda: start(other))
    started = waiting.result()
    assert engine.entered("customer:1") == [started]
