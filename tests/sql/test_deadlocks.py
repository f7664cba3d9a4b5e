"""Workflows that wait for each other's locks: who waits for whom, and how a circle is broken."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from uuid import UUID

import pytest

from .engine import Engine


def crossed(engine: Engine, *, fail_fast: bool = True, tolerated: bool = False) -> tuple[UUID, UUID]:
    """Two workflows that each hold a lock to their end and wait for the other's."""
    for name, mine, other in (("one", "x", "y"), ("two", "y", "x")):
        engine.define(
            {
                "take": {"workflow_locks": [mine]},
                "want": {"after": ["take"], "workflow_locks": [other], "tolerated": tolerated},
                "rest": ["take"],
                "end": {"after": ["want"], "ordering": ["want"]},
            },
            name=name,
            fail_fast=fail_fast,
        )
    workflows = engine.start("one"), engine.start("two")
    engine.finish(*(c.succeeded() for c in engine.claim()))
    engine.finish(*(c.succeeded() for c in engine.claim()))
    assert engine.claim() == []
    return workflows


def test_only_locks_held_to_the_end_of_a_workflow_are_waited_for_without_end(engine: Engine) -> None:
    one, two = crossed(engine)
    engine.define({"a": {"locks": ["x", "z"]}}, name="waits")
    engine.define({"a": {"locks": ["z"]}}, name="runs long")
    engine.start("runs long")
    engine.claim()
    engine.start("waits")
    assert engine.claim() == []
    assert engine.lock_waits() == {(one, two), (two, one)}


def test_breaking_a_circle_fails_the_waiting_task_and_the_others_go_on(engine: Engine) -> None:
    one, two = crossed(engine)
    task = engine.task(two, "want")["id"]
    assert engine.break_deadlock(task, [one, two]) is True
    error = engine.task(two, "want")["error"]
    assert (error["type"], error["details"]["lock"]) == ("deadlock", "x")
    assert error["details"]["cycle"] == [str(one), str(two), str(one)]
    assert error["message"] == f"Circular dependency detected: {one} -> {two} -> {one}"
    assert (engine.status(two), engine.workflow(two)["error"]["type"]) == ("failed", "deadlock")
    claim = engine.claim_one()
    assert (claim.workflow, claim.step) == (one, "want")
    engine.finish(claim.succeeded())
    engine.finish(engine.claim_one("end").succeeded())
    assert engine.status(one) == "succeeded"
    assert engine.break_deadlock(task, [one, two]) is False
    engine.retry(two)
    assert engine.claim_one().step == "want"


def test_a_tolerated_deadlock_lets_the_workflow_go_on_to_its_end(engine: Engine) -> None:
    one, two = crossed(engine, tolerated=True)
    assert engine.break_deadlock(engine.task(one, "want")["id"], [one, two]) is True
    assert engine.status(one) == "running"
    assert (engine.line("x"), engine.line("y")) == ([two], [])
    engine.finish(engine.claim_one("end").succeeded())
    assert engine.status(one) == "succeeded"
    assert engine.claim_one().workflow == two


def test_a_circle_that_is_gone_is_not_broken(engine: Engine) -> None:
    one, two = crossed(engine)
    task = engine.task(two, "want")["id"]
    unrelated = engine.task(two, "end")["id"]
    assert engine.break_deadlock(unrelated, [one, two]) is False
    assert engine.break_deadlock(task, [two]) is False
    engine.cancel(one)
    assert engine.break_deadlock(task, [one, two]) is False
    assert engine.claim_one().workflow == two


def test_of_two_leaders_that_break_the_same_circle_one_does(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[Any]"]
) -> None:
    one, two = crossed(engine)
    tasks = [engine.task(workflow, "want")["id"] for workflow in (one, two)]
    with engine.transaction():
        assert engine.break_deadlock(tasks[0], [one, two]) is True
        second = blocked(other, lambda: other.break_deadlock(tasks[1], [one, two]))
    assert second.result() is False
    assert engine.status(two) == "running"


@pytest.mark.parametrize("first", ["cancel", "break"])
def test_a_cancel_and_a_break_at_once_leave_one_of_them_to_go_on(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[Any]"], first: str
) -> None:
    one, two = crossed(engine)
    task = engine.task(two, "want")["id"]
    with engine.transaction():
        if first == "cancel":
            engine.cancel(one)
            late = blocked(other, lambda: other.break_deadlock(task, [one, two]))
        else:
            engine.break_deadlock(task, [one, two])
            late = blocked(other, lambda: other.cancel(one))
    assert late.result() == (False if first == "cancel" else "running")
    assert (engine.status(one), engine.status(two)) == ("cancelled", "running" if first == "cancel" else "failed")
