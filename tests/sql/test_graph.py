"""What follows when a task ended: joins, skips, failures, fail_fast, tolerated failures, ordering, output and error."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from uuid import UUID

import pytest

from .engine import Engine, Spec

DIAMOND: Spec = {"top": [], "left": ["top"], "right": ["top"], "bottom": ["left", "right"]}


def play(engine: Engine, spec: Spec, outcomes: Mapping[str, str], *, fail_fast: bool = True) -> UUID:
    """Start and play to the end; a step not named in `outcomes` succeeds with its name as output."""
    engine.define(spec, fail_fast=fail_fast)
    workflow = engine.start()
    while claims := engine.claim():
        engine.finish(
            *(
                claim.succeeded(claim.step)
                if (outcome := outcomes.get(claim.step, "succeeded")) == "succeeded"
                else getattr(claim, outcome)()
                for claim in claims
            )
        )
    return workflow


def test_diamond_runs_each_step_once_in_order(engine: Engine) -> None:
    workflow = play(engine, DIAMOND, {})
    assert engine.status(workflow) == "succeeded"
    started = engine.rows(
        "select step from workflow.events e join workflow.task_list t on t.id = e.task_id"
        " where e.type = 'task.started' order by seq"
    )
    names = [row["step"] for row in started]
    assert (names[0], set(names[1:3]), names[3]) == ("top", {"left", "right"}, "bottom")


def test_join_waits_for_its_last_parent(engine: Engine) -> None:
    engine.define(DIAMOND)
    workflow = engine.start()
    engine.finish(engine.claim_one().succeeded())
    engine.finish(engine.claim_one("left").succeeded())
    assert engine.tasks(workflow)["bottom"] == "blocked"
    engine.finish(engine.claim_one("right").succeeded())
    assert engine.tasks(workflow)["bottom"] == "pending"


def test_both_parents_in_one_batch_start_the_join_once(engine: Engine) -> None:
    engine.define({"left": [], "right": [], "bottom": ["left", "right"]})
    workflow = engine.start()
    engine.finish(*(c.succeeded() for c in engine.claim()))
    assert engine.tasks(workflow)["bottom"] == "pending"
    assert len(engine.jobs()) == 1


@pytest.mark.parametrize("first", ["left", "right"])
def test_two_workers_that_finish_both_parents_at_once_start_the_join_once(
    engine: Engine, other: Engine, blocked: Callable[..., Future[list[int]]], first: str
) -> None:
    engine.define({"left": [], "right": [], "bottom": ["left", "right"]})
    workflow = engine.start()
    mine, theirs = sorted(engine.claim(), key=lambda c: c.step != first)
    with engine.transaction():
        engine.finish(mine.succeeded())
        second = blocked(other, lambda: other.finish(theirs.succeeded()))
    assert second.result() == []
    assert engine.tasks(workflow)["bottom"] == "pending"
    assert len(engine.jobs()) == 1


def test_parent_whose_transaction_rolls_back_has_not_ended(
    engine: Engine, other: Engine, blocked: Callable[..., Future[list[int]]]
) -> None:
    engine.define({"left": [], "right": [], "bottom": ["left", "right"]})
    workflow = engine.start()
    mine, theirs = engine.claim()
    engine.run("begin")
    engine.finish(mine.succeeded())
    second = blocked(other, lambda: other.finish(theirs.succeeded()))
    engine.run("rollback")
    assert second.result() == []
    assert engine.tasks(workflow)["bottom"] == "blocked"
    assert engine.finish(mine.succeeded()) == []
    assert engine.tasks(workflow)["bottom"] == "pending"


def test_chain_behind_a_skipped_step_is_skipped_and_the_workflow_succeeds(engine: Engine) -> None:
    workflow = play(engine, {"a": [], "b": ["a"], "c": ["b"]}, {"a": "skipped"})
    assert set(engine.tasks(workflow).values()) == {"skipped"}
    assert engine.status(workflow) == "succeeded"
    assert engine.workflow(workflow)["output"] == {}


def test_join_runs_when_one_parent_succeeded_and_the_other_was_skipped(engine: Engine) -> None:
    workflow = play(engine, DIAMOND, {"left": "skipped"})
    assert engine.tasks(workflow)["bottom"] == "succeeded"


def test_join_is_skipped_when_all_parents_were(engine: Engine) -> None:
    workflow = play(engine, DIAMOND, {"left": "skipped", "right": "skipped"})
    assert engine.tasks(workflow)["bottom"] == "skipped"
    assert engine.status(workflow) == "succeeded"


def test_failure_cancels_what_has_not_ended(engine: Engine) -> None:
    engine.define({"a": [], "running": [], "pending": [], "scheduled": [], "blocked": ["running"], "done": []})
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["done"].succeeded(), claims["pending"].released(), claims["scheduled"].retried(60))
    engine.finish(claims["a"].failed())
    assert engine.status(workflow) == "failed"
    assert engine.tasks(workflow) == {
        "a": "failed", "running": "cancelled", "pending": "cancelled", "scheduled": "cancelled",
        "blocked": "cancelled", "done": "succeeded",
    }  # fmt: skip
    assert engine.jobs() == []
    assert engine.outcomes(workflow, "running") == ["cancelled"]
    assert engine.finish(claims["running"].succeeded()) == [0]


def test_success_and_failure_in_one_batch_are_both_recorded(engine: Engine) -> None:
    engine.define({"good": [], "bad": []})
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    assert engine.finish(claims["bad"].failed(), claims["good"].succeeded()) == []
    assert engine.tasks(workflow) == {"good": "succeeded", "bad": "failed"}
    assert engine.status(workflow) == "failed"


def test_without_fail_fast_everything_that_can_run_does_then_the_workflow_fails(engine: Engine) -> None:
    spec = {"bad": [], "behind": ["bad"], "further": ["behind"], "good": [], "after": ["good"]}
    workflow = play(engine, spec, {"bad": "failed"}, fail_fast=False)
    assert engine.tasks(workflow) == {
        "bad": "failed", "behind": "failed", "further": "failed", "good": "succeeded", "after": "succeeded",
    }  # fmt: skip
    behind = engine.task(workflow, "behind")
    assert behind["error"]["type"] == "upstream_failed"
    assert behind["started_at"] is None
    assert engine.status(workflow) == "failed"


def test_error_of_the_workflow_is_that_of_the_step_that_failed_it(engine: Engine) -> None:
    workflow = play(engine, {"bad": [], "behind": ["bad"], "good": []}, {"bad": "failed"}, fail_fast=False)
    error = engine.workflow(workflow)["error"]
    assert (error["type"], error["step"]) == ("test.failed", "bad")
    assert error["task_id"] == str(engine.task(workflow, "bad")["id"])


def test_tolerated_failure_does_not_fail_the_workflow_and_counts_as_success_behind_it(engine: Engine) -> None:
    workflow = play(engine, {"bad": {"tolerated": True}, "behind": ["bad"]}, {"bad": "failed"})
    assert engine.tasks(workflow) == {"bad": "failed", "behind": "succeeded"}
    assert engine.status(workflow) == "succeeded"
    assert engine.workflow(workflow)["error"] is None
    assert engine.workflow(workflow)["output"] == {"behind": "behind"}


def test_tolerated_step_behind_a_failure_lets_the_rest_run(engine: Engine) -> None:
    spec: Spec = {"bad": [], "behind": {"after": ["bad"], "tolerated": True}, "further": ["behind"]}
    workflow = play(engine, spec, {"bad": "failed"}, fail_fast=False)
    assert engine.tasks(workflow) == {"bad": "failed", "behind": "failed", "further": "succeeded"}
    assert engine.status(workflow) == "failed"


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "skipped"])
def test_ordering_only_dependency_is_waited_for_whatever_becomes_of_it(engine: Engine, outcome: str) -> None:
    spec: Spec = {"first": {"tolerated": True}, "second": {"ordering": ["first"]}}
    engine.define(spec)
    workflow = engine.start()
    claim = engine.claim_one()
    assert claim.step == "first"
    engine.finish(getattr(claim, outcome)())
    assert engine.tasks(workflow) == {"first": outcome, "second": "pending"}
    engine.finish(engine.claim_one().succeeded())
    assert engine.status(workflow) == "succeeded"


def test_ordering_only_success_does_not_save_a_step_whose_conditions_were_skipped(engine: Engine) -> None:
    spec: Spec = {"off": [], "first": [], "last": {"after": ["off"], "ordering": ["first"]}}
    workflow = play(engine, spec, {"off": "skipped"})
    assert engine.tasks(workflow)["last"] == "skipped"


def test_output_of_the_workflow_is_that_of_its_final_steps_that_succeeded(engine: Engine) -> None:
    spec = {"a": [], "b": ["a"], "c": ["a"], "off": ["a"]}
    engine.define(spec)
    workflow = engine.start()
    engine.finish(engine.claim_one().succeeded(0))
    assert engine.workflow(workflow)["output"] is None
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["b"].succeeded({"x": 1}), claims["c"].succeeded(), claims["off"].skipped())
    assert engine.workflow(workflow)["output"] == {"b": {"x": 1}, "c": None}


def test_wide_fan_out_and_join(engine: Engine) -> None:
    leaves = [f"leaf{n}" for n in range(300)]
    workflow = play(engine, {"top": [], **{leaf: ["top"] for leaf in leaves}, "join": leaves}, {})
    assert engine.workflow(workflow)["output"] == {"join": "join"}
    assert engine.task(workflow, "join")["succeeded_dependencies"] == 300
    assert engine.rows("select 1 from procrastinate_events") == []
