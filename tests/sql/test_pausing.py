"""Pausing the engine and single workflows: what is held back, what goes on, and that nothing stays behind."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from .engine import Engine

CHAIN = {"a": [], "b": ["a"]}


def refused(call: Callable[[], object]) -> tuple[str | None, str | None]:
    """SQLSTATE and slug of the error that a call ends with."""
    with pytest.raises(psycopg.Error) as error:
        call()
    return error.value.sqlstate, error.value.diag.message_detail


def test_a_paused_engine_starts_nothing_new_and_lets_what_runs_go_on(engine: Engine) -> None:
    engine.define(CHAIN)
    running, pending = engine.start(), engine.start()
    first = next(c for c in engine.claim(1) if c.workflow == running)
    state = engine.pause(by="ann")
    assert (state["paused"], state["until"], state["by"], state["running"]) == (True, None, "ann", 1)

    assert refused(engine.start) == ("WF503", "engine-paused")
    assert refused(lambda: engine.run("select workflow.start('flow')")) == ("WF503", "engine-paused")
    engine.finish(first.succeeded())
    (second,) = engine.claim()
    assert (second.workflow, second.step) == (running, "b")
    engine.finish(second.retried())
    engine.wake_due()
    (again,) = engine.claim()
    engine.finish(again.failed())
    assert engine.status(running) == "failed"
    engine.retry(running)
    engine.finish(engine.claim_one().succeeded())
    assert (engine.status(running), engine.status(pending)) == ("succeeded", "pending")
    assert engine.held(pending) == {"a"}

    state = engine.resume()
    assert (state["paused"], state["since"], state["until"]) == (False, None, None)
    assert engine.claim_one().workflow == pending
    engine.start()


def test_pausing_twice_keeps_the_beginning_and_takes_the_new_end(engine: Engine) -> None:
    first = engine.pause("15 minutes")
    second = engine.pause("30 minutes")
    assert second["since"] == first["since"]
    assert second["until"] > first["until"]
    assert engine.pause()["until"] is None
    assert engine.resume()["paused"] is False
    assert engine.resume()["paused"] is False
    assert refused(lambda: engine.pause("0"))[0] == "22023"


def test_a_pause_with_an_end_is_over_when_its_time_has_come(engine: Engine) -> None:
    engine.define(CHAIN)
    workflow = engine.start()
    engine.pause("15 minutes")
    assert engine.held(workflow) == {"a"}
    engine.set_clock("15 minutes 1 second")
    engine.start()  # accepted, before any sweep
    swept = engine.sweep_held()
    assert (swept["resumed"], swept["unparked"]) == (1, 1)
    assert len(engine.claim()) == 2
    engine.set_clock("0")
    assert engine.pause()["paused"] is True
    assert engine.resume()["paused"] is False


def test_what_was_accepted_in_the_moment_of_a_pause_is_parked_when_it_is_met(engine: Engine, other: Engine) -> None:
    engine.define(CHAIN)
    with other.transaction():
        workflow = other.start()
        engine.pause()
    assert engine.held(workflow) == set()
    turn = engine.turn(want=5)
    assert (turn["claims"], turn["again"]) == ([], True)
    assert engine.held(workflow) == {"a"}
    turn = engine.turn(want=5)
    assert (turn["claims"], turn["again"], turn["next_due"]) == ([], False, None)
    engine.resume()
    assert engine.held(workflow) == set()


def test_a_key_that_was_answered_before_the_pause_is_answered_again(engine: Engine) -> None:
    engine.define(CHAIN)
    first = engine.start_many([{"name": "flow"}], key="k")
    engine.pause()
    again = engine.start_many([{"name": "flow"}], key="k")
    assert (again["started"], again["replayed"]) == (first["started"], True)
    assert refused(lambda: engine.start_many([{"name": "flow"}], key="new")) == ("WF503", "engine-paused")
    engine.resume()


def test_the_duty_parks_and_unparks_the_rest_in_bounded_parts(engine: Engine) -> None:
    engine.define({"a": []})
    workflows = [engine.start() for _ in range(6)]
    engine.run("update workflow.engine set paused_at = workflow.clock()")  # as after a pause that parked its share
    assert [engine.sweep_held(limit=4)["parked"] for _ in range(3)] == [4, 2, 0]
    assert engine.rows("select pending, scheduled, held from workflow.queue_depth") == [
        {"pending": 0, "scheduled": 0, "held": 6}
    ]
    engine.run("update workflow.engine set paused_at = null")
    first = engine.sweep_held(limit=4)
    second = engine.sweep_held(first["last"], limit=4)
    assert (first["unparked"], second["unparked"], second["last"]) == (4, 2, None)
    assert {c.workflow for c in engine.claim()} == set(workflows)


def test_parking_four_times_as_much_takes_four_times_as_long(engine: Engine) -> None:
    """Nothing is compared with everything: thousands are parked by one statement."""
    engine.define({"a": []})
    engine.start_many([{"name": "flow"}] * 8000)
    engine.run("update workflow.engine set paused_at = workflow.clock()")

    def seconds(count: int) -> float:
        started = time.perf_counter()
        with engine.transaction():
            assert engine.value("select workflow.park_unstarted(%s)", count) == count
            raise psycopg.Rollback
        return time.perf_counter() - started

    seconds(10)
    assert min(seconds(8000) for _ in range(3)) < 7 * min(seconds(2000) for _ in range(3))
    engine.run("analyze")  # the check of the invariants that follows joins whole tables


def test_a_paused_workflow_is_not_claimed_and_its_running_tasks_may_end(engine: Engine) -> None:
    engine.define({"a": [], "b": [], "c": ["a"]})
    workflow, free = engine.start(), engine.start()
    claims = {(c.workflow, c.step): c for c in engine.claim()}
    engine.finish(claims[workflow, "b"].released(), claims[free, "b"].released())
    state = engine.pause_workflow(workflow)
    assert state["status"] == "running"
    assert engine.pause_workflow(workflow) == state
    assert engine.held(workflow) == {"b"}

    engine.finish(claims[workflow, "a"].succeeded())  # its successor is pending, and parked when it is met
    assert {c.workflow for c in engine.claim()} == {free}
    assert engine.held(workflow) == {"b", "c"}
    assert engine.claim() == []

    assert engine.resume_workflow(workflow)["paused_at"] is None
    assert engine.resume_workflow(workflow)["paused_at"] is None
    assert {c.step for c in engine.claim() if c.workflow == workflow} == {"b", "c"}
    assert [e for e in engine.events(workflow) if e in ("workflow.paused", "workflow.resumed")] == [
        "workflow.paused",
        "workflow.resumed",
    ]


def test_who_paused_or_cancelled_it_and_why_is_kept_until_it_is_resumed(engine: Engine) -> None:
    state = engine.pause("15 minutes", "ann", "deploy")
    assert (state["by"], state["reason"]) == ("ann", "deploy")
    assert engine.pause(by="bob")["reason"] is None
    engine.pause("15 minutes", "ann", "deploy")
    engine.set_clock("16 minutes")
    engine.sweep_held()
    assert engine.value("select paused_reason from workflow.engine") is None
    engine.set_clock("0")
    engine.define(CHAIN)
    workflow = engine.start()
    state = engine.pause_workflow(workflow, "ann", "the shop is closed")
    assert engine.pause_workflow(workflow, "bob", "me too") == state
    assert (state["by"], state["reason"]) == ("ann", "the shop is closed")
    shown = "select array[paused_by, paused_reason] from workflow.workflow_list where id = %s"
    assert engine.value(shown, workflow) == ["ann", "the shop is closed"]
    told = "select data from workflow.events where workflow_id = %s and type = %s"
    assert engine.value(told, workflow, "workflow.paused") == {"by": "ann", "reason": "the shop is closed"}
    engine.resume_workflow(workflow)
    assert engine.value(shown, workflow) == [None, None]
    engine.pause_workflow(workflow, "ann", "once more")
    engine.cancel(workflow, "refunded", "bob")
    assert engine.value(shown, workflow) == [None, None]
    error = engine.value(told, workflow, "workflow.cancelled")["error"]
    assert (error["message"], error["details"]) == ("refunded", {"by": "bob"})
    # As engines of the version before ask for it.
    other = engine.start()
    assert engine.value("select workflow.pause_workflow(%s)", other)["reason"] is None
    assert engine.value("select workflow.cancel(%s, %s)", other, None) == "pending"
    assert engine.value("select error -> 'details' from workflow.workflows where id = %s", other) == {}


def test_a_paused_workflow_can_be_cancelled_and_run_again(engine: Engine) -> None:
    engine.define(CHAIN)
    workflow = engine.start()
    engine.pause_workflow(workflow)
    assert engine.claim() == []
    engine.cancel(workflow)
    assert refused(lambda: engine.pause_workflow(workflow)) == ("WF409", "invalid-transition")
    assert refused(lambda: engine.resume_workflow(workflow)) == ("WF409", "invalid-transition")
    engine.retry(workflow, force=True)
    assert engine.claim_one("a").workflow == workflow


def test_an_unknown_workflow_cannot_be_paused(engine: Engine) -> None:
    nobody = engine.value("select workflow.new_id()")
    assert refused(lambda: engine.pause_workflow(nobody)) == ("WF404", "workflow-not-found")
    assert refused(lambda: engine.resume_workflow(nobody)) == ("WF404", "workflow-not-found")


def test_a_paused_workflow_stays_held_when_the_engine_is_resumed_and_the_other_way_round(engine: Engine) -> None:
    engine.define(CHAIN)
    workflow = engine.start()
    engine.pause()
    engine.pause_workflow(workflow)
    engine.resume()
    assert engine.held(workflow) == {"a"}
    engine.pause()
    engine.resume_workflow(workflow)
    assert engine.held(workflow) == {"a"}
    engine.resume()
    assert engine.held(workflow) == set()


def test_a_scheduled_task_of_a_paused_workflow_is_parked_when_its_time_has_come(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    engine.finish(engine.claim_one().retried(delay=5))
    engine.pause_workflow(workflow)
    assert engine.turn(want=1)["next_due"] > 4
    engine.set_clock("6 seconds")
    assert engine.claim() == []
    assert engine.held(workflow) == {"a"}
    assert engine.turn(want=1)["next_due"] is None
    engine.resume_workflow(workflow)
    assert engine.claim_one().attempt == 2


def test_a_resume_waits_for_a_claim_that_is_parking_and_misses_nothing(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[Any]"]
) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    engine.run("update workflow.engine set paused_at = workflow.clock()")
    with engine.transaction():
        assert engine.claim() == []
        resumed = blocked(other, other.resume)
    assert resumed.result()["paused"] is False
    assert engine.held(workflow) == set()


def test_the_resume_of_a_workflow_waits_for_a_claim_that_is_parking(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[Any]"]
) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    engine.run("update workflow.workflows set paused_at = workflow.clock() where id = %s", workflow)
    with engine.transaction():
        assert engine.claim() == []
        resumed = blocked(other, lambda: other.resume_workflow(workflow))
    assert resumed.result()["paused_at"] is None
    assert engine.held(workflow) == set()


def test_a_workflow_and_the_engine_resumed_at_once_leave_nothing_held(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[Any]"]
) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    engine.pause()
    engine.pause_workflow(workflow)

    with engine.transaction():
        engine.resume()
        resumed = blocked(other, lambda: other.resume_workflow(workflow))
    resumed.result(timeout=10)

    assert [c.workflow for c in engine.claim()] == [workflow]


def test_a_claim_in_the_middle_of_a_resume_parks_nothing(engine: Engine, other: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    engine.run("update workflow.engine set paused_at = workflow.clock()")
    with other.transaction():
        other.resume()
        turn = engine.turn(want=1)
        assert (turn["claims"], turn["again"]) == ([], True)
    assert engine.claim_one().workflow == workflow


def test_a_workflow_that_waits_for_the_world_outside_is_not_running_for_a_drain(engine: Engine) -> None:
    engine.define(CHAIN)
    workflow = engine.start()
    claim = engine.claim_one()
    assert engine.pause()["running"] == 1
    engine.pause_workflow(workflow)
    assert engine.pause()["running"] == 1  # what runs may end
    engine.finish(claim.succeeded())
    assert engine.pause()["running"] == 0
    engine.resume_workflow(workflow)
    assert engine.resume()["running"] == 1
