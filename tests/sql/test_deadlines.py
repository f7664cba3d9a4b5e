"""Deadlines of workflows and of tasks that wait for a worker or for their end."""

from typing import Any
from uuid import UUID

import pytest

from .engine import Claim, Engine
from .nested import define, step


def claim_only(engine: Engine, name: str) -> Claim:
    claims = engine.claim()
    assert [c.step for c in claims] == [name]
    return claims[0]


def sweep(engine: Engine) -> int:
    failed: dict[str, int] = engine.value("select workflow.sweep_deadlines()")
    return sum(failed.values())


def time_out(engine: Engine) -> int:
    count: int = engine.value("select workflow.sweep_timed_out()")
    return count


def error_of(engine: Engine, workflow: UUID, name: str) -> dict[str, Any]:
    error: dict[str, Any] = engine.task(workflow, name)["error"]
    return error


def test_a_workflow_that_takes_too_long_fails_and_has_its_ending(engine: Engine) -> None:
    define(engine, {"a": step(), "on_failure": step(kind="on_failure")}, plan={"timeout": 60})
    workflow = engine.start()
    a = claim_only(engine, "a")
    engine.set_clock("59 seconds")
    assert time_out(engine) == 0
    engine.set_clock("61 seconds")
    assert time_out(engine) == 1
    assert engine.finish(a.succeeded()) == [0]
    assert time_out(engine) == 0  # its ending takes the time it takes
    handler = claim_only(engine, "on_failure")
    assert handler.raw["workflow_error"]["type"] == "timeout"
    engine.finish(handler.succeeded())
    found = engine.workflow(workflow)
    assert (found["status"], found["error"]["details"]) == ("failed", {"kind": "workflow", "seconds": 60})


def test_a_workflow_that_never_began_times_out_too(engine: Engine) -> None:
    define(engine, {"a": step()}, plan={"timeout": 60})
    workflow = engine.start()
    engine.set_clock("61 seconds")
    assert time_out(engine) == 1
    assert engine.status(workflow) == "failed"


def test_a_retry_gives_the_workflow_its_time_anew(engine: Engine) -> None:
    define(engine, {"a": step()}, plan={"timeout": 60})
    workflow = engine.start()
    engine.set_clock("61 seconds")
    time_out(engine)
    assert engine.retry(workflow) == 1
    assert time_out(engine) == 0
    engine.set_clock("122 seconds")
    assert time_out(engine) == 1
    assert engine.workflow(workflow)["error"]["details"]["seconds"] == 60


def test_a_task_that_no_worker_begins_in_time_fails(engine: Engine) -> None:
    define(engine, {"a": step(), "b": step(["a"], timeouts={"schedule_to_start": 30})})
    workflow = engine.start()
    engine.finish(claim_only(engine, "a").succeeded())
    engine.set_clock("29 seconds")
    assert sweep(engine) == 0
    engine.set_clock("31 seconds")
    assert sweep(engine) == 1
    error = error_of(engine, workflow, "b")
    assert (error["type"], error["details"]) == ("timeout", {"kind": "schedule_to_start", "seconds": 30})
    assert engine.status(workflow) == "failed"
    assert engine.jobs() == []


def test_a_task_that_was_begun_in_time_is_left_alone(engine: Engine) -> None:
    define(engine, {"a": step(timeouts={"schedule_to_start": 30})})
    workflow = engine.start()
    a = claim_only(engine, "a")
    engine.set_clock("31 seconds")
    assert sweep(engine) == 0
    assert engine.value("select count(*) from workflow.deadlines") == 0
    engine.finish(a.succeeded())
    assert engine.status(workflow) == "succeeded"


def test_every_attempt_has_its_time_to_begin(engine: Engine) -> None:
    define(engine, {"a": step(timeouts={"schedule_to_start": 30})})
    workflow = engine.start()
    engine.finish(claim_only(engine, "a").retried(100))
    engine.set_clock("99 seconds")
    assert sweep(engine) == 0
    engine.set_clock("129 seconds")
    engine.wake_due()
    assert sweep(engine) == 0
    engine.set_clock("131 seconds")
    assert sweep(engine) == 1
    assert error_of(engine, workflow, "a")["attempt"] == 1


@pytest.mark.parametrize("whole_engine", [False, True])
def test_a_pause_gives_what_waits_for_a_worker_its_time_anew(engine: Engine, whole_engine: bool) -> None:
    define(engine, {"a": step(timeouts={"schedule_to_start": 30})})
    workflow = engine.start()
    if whole_engine:
        engine.pause()
    else:
        engine.pause_workflow(workflow)
    engine.set_clock("31 seconds")
    assert sweep(engine) == 0
    if whole_engine:
        engine.resume()
    else:
        engine.resume_workflow(workflow)
    engine.set_clock("60 seconds")
    assert sweep(engine) == 0
    engine.set_clock("62 seconds")
    assert sweep(engine) == 1


@pytest.mark.parametrize("state", ["pending", "running", "scheduled", "waiting"])
def test_a_task_that_takes_too_long_in_all_fails_whatever_it_does(engine: Engine, state: str) -> None:
    define(engine, {"a": step(timeouts={"schedule_to_close": 60}), "b": step(["a"])})
    workflow = engine.start()
    claim = None
    if state != "pending":
        claim = claim_only(engine, "a")
        if state == "scheduled":
            engine.finish(claim.retried(1000))
        elif state == "waiting":
            engine.finish(claim.waiting("timer", delay=1000))
    assert engine.task(workflow, "a")["status"] == state
    engine.set_clock("61 seconds")
    assert sweep(engine) == 1
    error = error_of(engine, workflow, "a")
    assert (error["type"], error["details"]["kind"]) == ("timeout", "schedule_to_close")
    assert engine.status(workflow) == "failed"
    assert engine.jobs() == []
    if state == "running" and claim is not None:
        assert engine.finish(claim.succeeded()) == [0]
        assert engine.outcomes(workflow, "a") == ["failed"]


@pytest.mark.parametrize("state", ["pending", "running", "scheduled", "waiting"])
def test_a_step_that_catches_errors_is_shown_its_timeout(engine: Engine, state: str) -> None:
    define(engine, {"a": step(timeouts={"schedule_to_close": 60}, catches=True)})
    workflow = engine.start()
    if state != "pending":
        claim = claim_only(engine, "a")
        if state == "scheduled":
            engine.finish(claim.retried(1000))
        elif state == "waiting":
            engine.finish(claim.waiting("timer", delay=1000))
    engine.set_clock("61 seconds")
    assert sweep(engine) == 1
    claim = claim_only(engine, "a")
    assert claim.raw["raised"]["details"]["kind"] == "schedule_to_close"
    engine.finish(claim.succeeded("caught"))
    assert engine.status(workflow) == "succeeded"
    assert sweep(engine) == 0


def test_any_worker_catches_that_no_worker_serves_the_queue(engine: Engine) -> None:
    engine.register(types=["noop", "block"])
    gpu = step(queue="gpu", type="train", timeouts={"schedule_to_start": 5}, catches=True)
    define(engine, {"train": gpu}, {"train": ("catch", {"plan_b": step()})})
    workflow = engine.start()
    assert engine.claim() == []
    engine.set_clock("6 seconds")
    assert sweep(engine) == 1
    (claim,) = engine.claim(types=["noop", "block"])
    assert claim.raw["raised"]["details"]["kind"] == "schedule_to_start"
    opened = claim.opens(1)
    opened["awaits"]["state"] = {"catching": {"catch": 0, "error": claim.raw["raised"]}}
    engine.finish(opened)
    engine.finish(claim_only(engine, "plan_b").succeeded())
    (claim,) = engine.claim(types=["noop", "block"])
    engine.finish(claim.succeeded("caught"))
    assert engine.status(workflow) == "succeeded"


def test_a_catch_does_not_wait_for_the_lock_that_the_step_waited_for_in_vain(engine: Engine) -> None:
    resource = {"kind": "lock", "key": "x", "scope": "task", "capacity": 1, "units": 1}
    define(engine, {"a": step(resources=[resource], timeouts={"schedule_to_start": 5}, catches=True)})
    first, second = engine.start(), engine.start()
    assert claim_only(engine, "a").workflow == first
    engine.set_clock("6 seconds")
    assert sweep(engine) == 1
    claim = claim_only(engine, "a")
    assert (claim.workflow, claim.raw["raised"]["type"], engine.holders("x")) == (second, "timeout", [first])
    engine.finish(claim.succeeded("caught"))
    assert engine.status(second) == "succeeded"


def test_a_block_that_takes_too_long_ends_what_is_in_it(engine: Engine) -> None:
    resource = {"kind": "lock", "key": "x", "scope": "task", "capacity": 1, "units": 1}
    define(
        engine,
        {"block": step(timeouts={"schedule_to_close": 60}, tolerated=True), "after": step(["block"])},
        {"block": ("block", {"slow": step(resources=[resource])})},
    )
    workflow = engine.start()
    engine.finish(claim_only(engine, "block").opens(1))
    slow = claim_only(engine, "slow")
    engine.set_clock("61 seconds")
    assert sweep(engine) == 1
    assert engine.tasks(workflow)["slow"] == "cancelled"
    assert engine.finish(slow.succeeded()) == [0]
    assert engine.holders("x") == []
    engine.finish(claim_only(engine, "after").succeeded())
    assert engine.status(workflow) == "succeeded"


def test_tasks_in_scopes_and_in_endings_have_deadlines(engine: Engine) -> None:
    define(
        engine,
        {"map": step(), "on_exit": step(kind="on_exit", timeouts={"schedule_to_start": 30})},
        {"map": ("item", {"body": step(timeouts={"schedule_to_start": 30}, tolerated=True)})},
    )
    workflow = engine.start()
    engine.finish(claim_only(engine, "map").opens(1, 2))
    engine.set_clock("31 seconds")
    assert sweep(engine) == 2
    engine.finish(claim_only(engine, "map").succeeded())
    engine.set_clock("62 seconds")
    assert sweep(engine) == 1
    assert engine.workflow(workflow)["error"]["step"] == "on_exit"


def test_a_step_that_waits_again_for_the_one_before_has_no_deadline_of_its_first_time(engine: Engine) -> None:
    define(
        engine,
        {
            "a": step(compensation="undo"),
            "b": step(["a"], timeouts={"schedule_to_close": 60}),
            "undo": step(kind="compensation"),
        },
    )
    workflow = engine.start()
    engine.finish(claim_only(engine, "a").succeeded())
    engine.finish(claim_only(engine, "b").failed())
    engine.finish(claim_only(engine, "undo").succeeded())
    assert engine.status(workflow) == "failed"
    engine.retry(workflow)
    engine.set_clock("61 seconds")
    assert sweep(engine) == 0
    engine.finish(claim_only(engine, "a").succeeded())
    engine.set_clock("122 seconds")
    assert sweep(engine) == 1, "it has its time from when it may run"


def test_a_deadline_of_a_workflow_that_is_locked_is_left_for_the_next_sweep(engine: Engine, other: Engine) -> None:
    define(engine, {"a": step(timeouts={"schedule_to_start": 30})}, plan={"timeout": 100})
    workflow = engine.start()
    with other.transaction():
        other.rows("select 1 from workflow.workflows where id = %s for update", workflow)
        engine.set_clock("31 seconds")
        assert sweep(engine) == 0
        engine.set_clock("101 seconds")
        assert time_out(engine) == 0
    assert sweep(engine) == 1
    assert engine.status(workflow) == "failed"
