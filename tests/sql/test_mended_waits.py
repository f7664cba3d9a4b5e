"""Tasks that leave a wait other than by its end: by a catch, a lost worker, a deadline around them, a deadlock."""

import psycopg
import pytest

from .engine import Engine, error_document
from .nested import child, define, step

CATCHING = {"state": {"catching": {"catch": 0, "error": error_document("timeout")}}}


def test_a_signal_is_not_waited_for_any_more_while_the_steps_of_a_catch_run(engine: Engine) -> None:
    define(engine, {"a": step(catches=True), "b": step()}, {"a": ("catch", {"x": step()})})
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["a"].waiting("signal", name="go", count=2, deadline=10), claims["b"].released())
    engine.signal(workflow, "go", 1)
    engine.set_clock("11 seconds")
    engine.wake_due()
    a = engine.claim_one("a")
    seqs = [e["seq"] for e in a.raw["resumed"]["events"]]
    engine.finish(a.opens(1, effects={"taken": seqs, "expired": True}, **CATCHING))
    engine.finish(engine.claim_one("b").waiting("signal", name="go"))
    assert engine.task(workflow, "b")["status"] == "pending"  # what the first had is free again
    engine.signal(workflow, "go", 2)
    assert engine.task(workflow, "a")["status"] == "waiting"


def test_an_approval_is_withdrawn_when_the_steps_of_a_catch_run(engine: Engine) -> None:
    define(engine, {"a": step(catches=True)}, {"a": ("catch", {"x": step()})})
    engine.start()
    engine.finish(engine.claim_one().waiting("approval", prompt="?", deadline=10))
    engine.set_clock("11 seconds")
    engine.wake_due()
    engine.finish(engine.claim_one().opens(1, effects={"expired": True}, **CATCHING))
    assert engine.value("select status from workflow.approvals") == "expired"


def test_a_task_that_catches_the_loss_of_its_worker_leaves_what_it_waited_for(engine: Engine) -> None:
    define(engine, {"a": step(catches=True)}, {"a": ("item", {"x": step(body=True)})})
    workflow = engine.start()
    engine.finish(engine.claim_one().opens(1, 2, deadline=10))
    engine.set_clock("11 seconds")
    engine.wake_due()
    claims = engine.claim()
    engine.finish(*(c.released() for c in claims if c.step == "x"))
    engine.set_clock("60 seconds")
    assert engine.sweep_expired_leases(max_crashes=1) == (1, 0)
    (a,) = engine.claim()
    assert a.raw["raised"]["type"] == "worker_lost"
    engine.finish(a.failed())
    assert engine.status(workflow) == "failed"


def test_what_is_inside_a_task_that_leaves_it_begins_no_wait_in_the_same_batch(engine: Engine) -> None:
    define(engine, {"a": step(tolerated=True), "b": step()}, {"a": ("item", {"x": step(body=True)})})
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["a"].opens(1, 1, deadline=10), claims["b"].released())
    engine.set_clock("11 seconds")
    engine.wake_due()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["x"].waiting("signal", name="go"), claims["a"].failed(), claims["b"].released())
    assert engine.tasks(workflow)["x"] == "cancelled"
    assert engine.rows("select * from workflow.signal_waits") == []


def test_a_deadline_of_a_block_and_one_inside_of_it_may_pass_together(engine: Engine) -> None:
    timed = {"timeouts": {"schedule_to_close": 10}}
    define(engine, {"a": step(**timed)}, {"a": ("block", {"x": step(**timed)})})
    workflow = engine.start()
    engine.finish(engine.claim_one().opens(1))
    engine.claim()
    engine.set_clock("11 seconds")
    engine.value("select workflow.sweep_deadlines()")
    assert engine.tasks(workflow) == {"a": "failed", "x": "cancelled"}


def test_a_task_that_was_resumed_leaves_what_it_waited_for_when_a_deadlock_is_broken(engine: Engine) -> None:
    first = [{"kind": "lock", "key": "x", "scope": "workflow", "capacity": 1, "units": 1}]
    second = [{"kind": "lock", "key": "y", "scope": "workflow", "capacity": 1, "units": 1}]
    for name, own, other in (("flow", first, second), ("other", second, first)):
        define(engine, {"a": step(resources=own), "b": step(["a"]), "c": step(["b"], resources=other)}, name=name)
    one, two = engine.start(), engine.start("other")
    for _ in range(2):
        engine.finish(*(c.succeeded() for c in engine.claim()))
    assert engine.claim() == []
    engine.run(  # as after a wait
        "update workflow.tasks set awaits = %s where id = any(select task_id from workflow.waits)",
        '{"kind": "signal", "name": "go"}',
    )
    waiter = engine.value("select task_id from workflow.waits where workflow_id = %s", one)
    assert engine.break_deadlock(waiter, [one, two])
    assert engine.task(one, "c")["awaits"] is None
    engine.finish(*(c.succeeded() for c in engine.claim()))
    assert {engine.status(one), engine.status(two)} == {"failed", "succeeded"}


def test_a_child_is_not_started_that_would_stand_in_line_behind_its_own_parents(engine: Engine) -> None:
    for name in ("flow", "child"):
        define(
            engine, {"a": step()}, name=name,
            plan={"concurrency": [{"key": [{"text": "k"}], "limit": 1, "on_conflict": "queue"}]},
        )  # fmt: skip
    engine.start()
    engine.finish(child(engine.claim_one()))
    (claim,) = engine.claim()
    assert claim.raw["resumed"]["workflow"]["error"]["type"] == "child_workflow"
    assert engine.value("select count(*) from workflow.places") == 1
    engine.finish(claim.failed())


def test_time_to_be_started_does_not_pass_while_a_workflow_is_in_line(engine: Engine) -> None:
    define(
        engine, {"a": step(timeouts={"schedule_to_start": 10})},
        plan={"concurrency": [{"key": [{"text": "k"}], "limit": 1, "on_conflict": "queue"}]},
    )  # fmt: skip
    engine.start()
    second = engine.start()
    claim = engine.claim_one()
    engine.set_clock("11 seconds")
    engine.value("select workflow.sweep_deadlines()")
    assert engine.status(second) == "pending"
    engine.finish(claim.succeeded())


def test_a_workflow_does_again_with_another_version_what_was_undone(engine: Engine) -> None:
    for _ in range(2):
        define(
            engine,
            {"a": step(compensation="undo"), "b": step(["a"]), "undo": step(kind="compensation", priority=_)},
        )  # fmt: skip
    workflow = engine.start(version=1)
    engine.finish(engine.claim_one().succeeded())
    engine.finish(engine.claim_one().failed())
    engine.finish(engine.claim_one("undo").succeeded())
    engine.pin(workflow, 2)
    assert engine.retry(workflow) == 2
    assert engine.tasks(workflow) == {"a": "pending", "b": "blocked"}


def test_a_rerun_that_fails_does_not_undo_what_the_workflow_before_it_did(engine: Engine) -> None:
    define(engine, {"a": step(compensation="undo"), "b": step(["a"]), "undo": step(kind="compensation")})
    first = engine.start()
    for _ in range(2):
        engine.finish(engine.claim_one().succeeded())
    assert engine.status(first) == "succeeded"
    rerun = engine.value("select workflow.rerun(%s, 'b')", first)["id"]
    engine.finish(engine.claim_one("b").failed())
    assert engine.status(rerun) == "failed"
    assert engine.tasks(rerun) == {"a": "succeeded", "b": "failed"}


def test_what_waits_for_a_step_that_failed_and_is_skipped_counts_it_once(engine: Engine) -> None:
    engine.define({"a": [], "b": [], "c": ["a", "b"]}, fail_fast=False)
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["a"].failed())
    engine.value("select workflow.skip_task(%s)", claims["a"].task_id)
    assert engine.tasks(workflow) == {"a": "succeeded", "b": "running", "c": "blocked"}
    engine.finish(claims["b"].succeeded())
    engine.finish(engine.claim_one("c").succeeded())
    assert engine.status(workflow) == "succeeded"


def test_a_compensation_is_not_retried_while_its_workflow_runs_again(engine: Engine) -> None:
    define(engine, {"a": step(compensation="undo"), "b": step(["a"]), "undo": step(kind="compensation")})
    workflow = engine.start()
    engine.finish(engine.claim_one().succeeded())
    engine.finish(engine.claim_one().failed())
    undo = engine.claim_one("undo")
    engine.finish(undo.failed())
    engine.retry(workflow)
    engine.claim_one("b")
    with pytest.raises(psycopg.Error, match=r"runs again"):
        engine.retry_task(undo.task_id)


def test_what_is_done_again_already_is_not_reopened_by_the_retry_of_another_task(engine: Engine) -> None:
    define(
        engine,
        {"group": step(), "bad": step()},
        {"group": ("block", {"pay": step(compensation="undo"), "undo": step(kind="compensation")})},
        plan={"fail_fast": False},
    )
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["group"].opens(1), claims["bad"].failed())
    engine.finish(engine.claim_one("pay").succeeded())
    engine.finish(engine.claim_one("group").succeeded())
    engine.finish(engine.claim_one("undo").succeeded())
    assert engine.status(workflow) == "failed"

    engine.retry(workflow)
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["bad"].failed())
    assert engine.retry_task(claims["bad"].task_id) == 1
    assert engine.task(workflow, "group")["status"] == "running"
    engine.finish(claims["group"].opens(1), engine.claim_one("bad").released())
    engine.finish(engine.claim_one("pay").succeeded())
    engine.finish(engine.claim_one("group").succeeded())
    engine.finish(engine.claim_one("bad").failed())
    assert engine.task(workflow, "group")["status"] == "succeeded"
    engine.finish(engine.claim_one("undo").succeeded())

    assert engine.retry(workflow) == 2, "it has been undone once more"
