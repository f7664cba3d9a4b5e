"""workflow.cancel and workflow.retry, in each state and twice."""

from collections.abc import Callable
from uuid import UUID, uuid4

import psycopg
import pytest

from .engine import Engine, Spec
from .test_graph import play


def refused(call: Callable[[], object]) -> tuple[str | None, str | None]:
    """SQLSTATE and problem slug of the refusal."""
    with pytest.raises(psycopg.Error) as error:
        call()
    return error.value.sqlstate, error.value.diag.message_detail


def pending(engine: Engine) -> UUID:
    engine.define({"a": [], "b": ["a"]})
    return engine.start()


def running(engine: Engine) -> UUID:
    workflow = pending(engine)
    engine.claim()
    return workflow


def lay_ended(engine: Engine, workflow: UUID) -> float | None:
    """Minutes for which it lay ended, as it is told."""
    idle = engine.workflow(workflow)["idle"]
    return None if idle is None else round(idle.total_seconds() / 60)


# Cancel ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [pending, running])
def test_cancel_ends_a_live_workflow_with_all_its_tasks(engine: Engine, make: Callable[[Engine], UUID]) -> None:
    workflow = make(engine)
    assert engine.cancel(workflow, "Not wanted.") == make.__name__
    assert engine.status(workflow) == "cancelled"
    assert set(engine.tasks(workflow).values()) == {"cancelled"}
    assert engine.workflow(workflow)["error"]["message"] == "Not wanted."
    assert engine.jobs() == []
    assert engine.events(workflow)[-1] == "workflow.cancelled"


def test_cancel_twice_is_not_an_error_and_changes_nothing(engine: Engine) -> None:
    workflow = running(engine)
    engine.cancel(workflow)
    before = engine.snapshot()
    assert engine.cancel(workflow) == "cancelled"
    assert engine.snapshot() == before


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_cancel_of_a_workflow_that_ended_is_refused(engine: Engine, outcome: str) -> None:
    workflow = play(engine, {"a": []}, {"a": outcome})
    before = engine.snapshot()
    assert refused(lambda: engine.cancel(workflow)) == ("WF409", "invalid-transition")
    assert engine.snapshot() == before


def test_cancel_and_retry_of_an_unknown_workflow_are_refused(engine: Engine) -> None:
    assert refused(lambda: engine.cancel(uuid4())) == ("WF404", "workflow-not-found")
    assert refused(lambda: engine.retry(uuid4())) == ("WF404", "workflow-not-found")


def test_cancel_tells_the_workers_that_hold_its_tasks(engine: Engine, other: Engine) -> None:
    workflow = running(engine)
    other.run("listen workflow_worker")
    engine.cancel(workflow)
    notices = list(other.connection.notifies(timeout=5, stop_after=1))
    assert [(n.channel, n.payload) for n in notices] == [("workflow_worker", str(engine.worker_id))]


def test_cancel_in_a_transaction_that_rolls_back_cancels_nothing(engine: Engine) -> None:
    workflow = running(engine)
    before = engine.snapshot()
    with engine.transaction() as _:
        engine.cancel(workflow)
        raise psycopg.Rollback
    assert engine.snapshot() == before


# Retry ----------------------------------------------------------------------------------------------------------------


def test_retry_runs_again_what_failed_and_keeps_what_succeeded(engine: Engine) -> None:
    workflow = play(engine, {"a": [], "b": ["a"], "c": ["b"]}, {"b": "failed"})
    assert engine.retry(workflow) == 2
    assert engine.tasks(workflow) == {"a": "succeeded", "b": "pending", "c": "blocked"}
    assert engine.status(workflow) == "running"
    assert engine.workflow(workflow)["error"] is None
    claim = engine.claim_one()
    assert (claim.step, claim.attempt, claim.raw["tries"], claim.raw["elapsed_seconds"]) == ("b", 2, 0, 0)
    engine.finish(claim.succeeded())
    engine.finish(engine.claim_one().succeeded())
    assert engine.status(workflow) == "succeeded"
    assert engine.outcomes(workflow, "a") == ["succeeded"]
    assert engine.outcomes(workflow, "b") == ["failed", "succeeded"]


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_retried_join_waits_for_those_of_its_parents_that_run_again(engine: Engine, order: tuple[str, str]) -> None:
    spec: Spec = {"left": [], "right": [], "kept": [], "bottom": ["left", "right", "kept"]}
    workflow = play(engine, spec, {"left": "failed", "right": "failed"}, fail_fast=False)
    assert engine.retry(workflow) == 3
    assert engine.task(workflow, "bottom")["open_dependencies"] == 2
    for step in order:
        assert engine.tasks(workflow)["bottom"] == "blocked"
        engine.finish(engine.claim_one(step).succeeded())
    engine.finish(engine.claim_one().succeeded("done"))
    assert engine.workflow(workflow)["output"] == {"bottom": "done"}


def test_retry_that_fails_again_can_be_retried_again(engine: Engine) -> None:
    workflow = play(engine, {"a": [], "b": ["a"]}, {"a": "failed"}, fail_fast=False)
    for attempt in (2, 3):
        engine.retry(workflow)
        claim = engine.claim_one()
        assert claim.attempt == attempt
        engine.finish(claim.failed())
        assert engine.status(workflow) == "failed"
        assert engine.tasks(workflow) == {"a": "failed", "b": "failed"}


def test_retry_leaves_what_a_condition_skipped_and_all_behind_it(engine: Engine) -> None:
    spec: Spec = {"off": [], "behind": ["off"], "further": ["behind"], "bad": [], "join": ["behind", "bad"]}
    workflow = play(engine, spec, {"off": "skipped", "bad": "failed"}, fail_fast=False)
    assert engine.tasks(workflow)["behind"] == "skipped"
    assert engine.retry(workflow) == 2
    assert engine.tasks(workflow) == {
        "off": "skipped", "behind": "skipped", "further": "skipped", "bad": "pending", "join": "blocked",
    }  # fmt: skip
    engine.finish(engine.claim_one().succeeded())
    assert engine.claim_one().step == "join"


def test_retry_of_a_step_whose_successors_have_all_succeeded_ends_the_workflow(engine: Engine) -> None:
    workflow = play(engine, {"bad": [], "after": {"ordering": ["bad"]}}, {"bad": "failed"}, fail_fast=False)
    assert (engine.status(workflow), engine.tasks(workflow)["after"]) == ("failed", "succeeded")
    assert engine.retry(workflow) == 1
    engine.finish(engine.claim_one().succeeded())
    assert engine.status(workflow) == "succeeded"
    assert engine.outcomes(workflow, "after") == ["succeeded"]


def test_retried_workflow_ends_with_the_last_of_its_reopened_tasks(engine: Engine) -> None:
    spec: Spec = {"weak": {"tolerated": True}, "behind": ["weak"], "bad": []}
    workflow = play(engine, spec, {"weak": "failed", "bad": "failed"}, fail_fast=False)
    assert engine.retry(workflow) == 2
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["bad"].succeeded())
    assert engine.status(workflow) == "running", "weak still runs"
    assert engine.finish(claims["weak"].failed()) == []
    assert engine.status(workflow) == "succeeded"


def test_retry_of_a_cancelled_workflow_needs_force(engine: Engine) -> None:
    workflow = running(engine)
    engine.cancel(workflow)
    assert refused(lambda: engine.retry(workflow)) == ("WF409", "invalid-transition")
    assert engine.retry(workflow, force=True) == 2
    assert engine.status(workflow) == "running"
    claim = engine.claim_one()
    assert claim.attempt == 2
    engine.finish(claim.succeeded())
    engine.finish(engine.claim_one().succeeded())
    assert engine.status(workflow) == "succeeded"


def test_forced_retry_of_a_workflow_cancelled_before_it_began_makes_it_pending(engine: Engine) -> None:
    workflow = pending(engine)
    engine.cancel(workflow)
    engine.retry(workflow, force=True)
    assert engine.status(workflow) == "pending"
    assert engine.tasks(workflow) == {"a": "pending", "b": "blocked"}
    assert engine.claim_one().step == "a"
    assert engine.status(workflow) == "running"


def test_retry_twice_is_refused_while_the_workflow_runs(engine: Engine) -> None:
    workflow = play(engine, {"a": []}, {"a": "failed"})
    engine.retry(workflow)
    before = engine.snapshot()
    assert refused(lambda: engine.retry(workflow)) == ("WF409", "invalid-transition")
    assert engine.snapshot() == before


def test_retry_of_a_workflow_that_runs_or_succeeded_is_refused(engine: Engine) -> None:
    assert refused(lambda: engine.retry(running(engine))) == ("WF409", "invalid-transition")
    workflow = play(engine, {"x": []}, {})
    assert refused(lambda: engine.retry(workflow, force=True)) == ("WF409", "invalid-transition")


def test_late_result_of_the_attempt_before_a_retry_is_stale(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    old = engine.claim_one()
    engine.cancel(workflow)
    engine.retry(workflow, force=True)
    assert engine.finish(old.succeeded()) == [0]
    new = engine.claim_one()
    assert engine.finish(old.succeeded()) == [0]
    assert engine.finish(new.succeeded()) == []


def test_retry_of_a_pending_workflow_gives_a_lost_job_back(engine: Engine) -> None:
    workflow = pending(engine)
    engine.run("delete from procrastinate_jobs")
    assert engine.claim() == []
    assert engine.retry(workflow) == 1
    assert engine.claim_one().step == "a"


def test_retry_of_a_healthy_pending_workflow_only_wakes_its_workers(engine: Engine, other: Engine) -> None:
    workflow = pending(engine)
    before = engine.snapshot()
    other.run('listen "procrastinate_queue_v1#default"')
    assert engine.retry(workflow) == 0
    assert engine.snapshot() == before
    assert len(list(other.connection.notifies(timeout=5, stop_after=1))) == 1


def test_retry_of_a_scheduled_task_that_failed_starts_its_policy_afresh(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    engine.finish(engine.claim_one().retried())
    engine.wake_due()
    engine.finish(engine.claim_one().failed())
    assert engine.task(workflow, "a")["tries"] == 2
    engine.retry(workflow)
    task = engine.task(workflow, "a")
    assert (task["tries"], task["crashes"], task["first_started_at"], task["attempt"]) == (0, 0, None, 2)


def test_the_time_for_which_a_workflow_lay_ended_is_told_apart_from_that_for_which_it_ran(engine: Engine) -> None:
    workflow = play(engine, {"a": []}, {"a": "failed"})
    assert (lay_ended(engine, workflow), engine.workflow(workflow)["retried_at"]) == (None, None)
    engine.set_clock("60 minutes")
    engine.retry(workflow)
    assert lay_ended(engine, workflow) == 60
    engine.set_clock("70 minutes")
    engine.finish(engine.claim_one().failed())
    engine.define({"a": [], "b": []})
    engine.pin(workflow, 2)
    engine.set_clock("90 minutes")
    engine.retry(workflow)
    told = engine.workflow(workflow)
    assert (told["version"], lay_ended(engine, workflow)) == (2, 60 + 20)
    retried_at = told["retried_at"]
    engine.set_clock("100 minutes")
    engine.finish(*(claim.succeeded() for claim in engine.claim()))
    told = engine.workflow(workflow)
    assert (told["retried_at"], lay_ended(engine, workflow)) == (retried_at, 80)
    assert (told["finished_at"] - told["started_at"] - told["idle"]).total_seconds() == pytest.approx(20 * 60, abs=60)


def test_what_was_cancelled_before_it_began_lay_idle_for_no_time(engine: Engine) -> None:
    workflow = pending(engine)
    engine.cancel(workflow)
    engine.set_clock("60 minutes")
    engine.retry(workflow, force=True)
    assert (lay_ended(engine, workflow), engine.workflow(workflow)["retried_at"] is None) == (None, False)
