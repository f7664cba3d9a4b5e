"""workflow.retry_task: one task runs again, with what depends on it, and with another timeout."""

from collections.abc import Callable
from concurrent.futures import Future
from uuid import UUID

import psycopg
import pytest

from .engine import Claim, Engine, Spec, step
from .test_cancel_retry import refused
from .test_graph import play

REFUSED = ("WF409", "invalid-transition")


def task_id(engine: Engine, workflow: UUID, name: str) -> int:
    return int(engine.task(workflow, name)["id"])


def run_all(engine: Engine) -> list[str]:
    """Run what is pending and what follows from it to success; returns the steps in order."""
    steps: list[str] = []
    while claims := engine.claim():
        steps += sorted(c.step for c in claims)
        engine.finish(*(c.succeeded() for c in claims))
    return steps


def test_a_failed_task_runs_again_with_its_timeout_until_it_ends(engine: Engine) -> None:
    workflow = play(engine, {"a": [], "b": ["a"], "c": ["b"]}, {"b": "failed"})
    task = task_id(engine, workflow, "b")
    assert engine.retry_task(task, 600) == 2
    assert engine.tasks(workflow) == {"a": "succeeded", "b": "pending", "c": "blocked"}
    assert (engine.status(workflow), engine.workflow(workflow)["error"]) == ("running", None)
    assert engine.events(workflow)[-1] == "workflow.retried"
    claim = engine.claim_one()
    assert (claim.attempt, claim.raw["tries"], claim.raw["timeout"]) == (2, 0, 600)
    engine.finish(claim.retried())
    engine.wake_due()
    claim = engine.claim_one()
    assert (claim.attempt, claim.raw["timeout"], claim.raw["timeout_is_override"]) == (3, 600, True)
    engine.finish(claim.succeeded())
    assert engine.task(workflow, "b")["timeout_override"] is None
    assert run_all(engine) == ["c"]
    assert engine.status(workflow) == "succeeded"
    assert engine.outcomes(workflow, "b") == ["failed", "retried", "succeeded"]


def test_the_timeout_beats_that_of_the_type(engine: Engine) -> None:
    workflow = play(engine, {"a": []}, {"a": "failed"})
    engine.run("update workflow.task_types set timeout = 5 where name = 'noop'")
    engine.retry_task(task_id(engine, workflow, "a"), 600)
    claim = engine.claim_one()
    assert (claim.raw["timeout"], claim.raw["timeout_is_override"]) == (600, True)
    engine.finish(claim.failed())
    engine.retry(workflow)
    assert engine.claim_one().raw["timeout"] == 5


def test_other_failures_stay_and_so_does_what_needs_them(engine: Engine) -> None:
    spec: Spec = {"a": [], "x": [], "after_a": ["a"], "after_x": ["x"], "join": ["after_a", "x"], "end": ["join"]}
    workflow = play(engine, spec, {"a": "failed", "x": "failed"}, fail_fast=False)
    assert engine.retry_task(task_id(engine, workflow, "a")) == 4
    assert engine.tasks(workflow) == {
        "a": "pending", "x": "failed", "after_a": "blocked", "after_x": "failed", "join": "blocked", "end": "blocked",
    }  # fmt: skip
    assert engine.workflow(workflow)["error"]["step"] == "x"
    assert run_all(engine) == ["a", "after_a"]
    assert engine.status(workflow) == "failed"
    assert engine.tasks(workflow)["end"] == "failed"
    assert engine.task(workflow, "join")["error"]["type"] == "upstream_failed"
    assert engine.retry_task(task_id(engine, workflow, "x")) == 4
    assert run_all(engine) == ["x", "after_x", "join", "end"]
    assert engine.status(workflow) == "succeeded"


def test_an_older_failure_does_not_end_what_runs_again(engine: Engine) -> None:
    """Two tasks failed at once and so fast that the third was cancelled."""
    engine.define({"a": [], "x": [], "slow": [], "last": ["slow"], "join": ["a", "x"]})
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["a"].failed(), claims["x"].failed())
    assert engine.tasks(workflow)["slow"] == "cancelled"
    assert engine.retry_task(task_id(engine, workflow, "a")) == 4
    claims = {c.step: c for c in engine.claim()}
    assert set(claims) == {"a", "slow"}
    engine.finish(claims["a"].succeeded())
    assert engine.tasks(workflow)["join"] == "failed"
    assert engine.status(workflow) == "running"
    engine.finish(claims["slow"].succeeded())
    assert run_all(engine) == ["last"]
    assert (engine.status(workflow), engine.workflow(workflow)["error"]["step"]) == ("failed", "x")


def test_a_new_failure_still_ends_the_workflow_at_once(engine: Engine) -> None:
    engine.define({"a": [], "slow": []})
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["a"].failed())
    engine.retry_task(task_id(engine, workflow, "a"))
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["a"].failed())
    assert (engine.status(workflow), engine.tasks(workflow)["slow"]) == ("failed", "cancelled")


def test_a_task_of_a_workflow_that_still_runs_is_reopened_in_it(engine: Engine) -> None:
    engine.define({"a": [], "slow": [], "both": ["a", "slow"]}, fail_fast=False)
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["a"].failed())
    assert engine.task(workflow, "both")["failed_dependencies"] == 1
    assert engine.retry_task(task_id(engine, workflow, "a")) == 1
    both = engine.task(workflow, "both")
    assert (both["open_dependencies"], both["failed_dependencies"]) == (2, 0)
    engine.finish(claims["slow"].succeeded())
    assert run_all(engine) == ["a", "both"]
    assert engine.status(workflow) == "succeeded"


def test_a_tolerated_failure_runs_again_while_a_join_still_waits(engine: Engine) -> None:
    engine.define({"weak": step(tolerated=True), "slow": [], "both": ["weak", "slow"]})
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["weak"].failed())
    engine.retry_task(task_id(engine, workflow, "weak"))
    engine.finish(claims["slow"].succeeded())
    assert engine.tasks(workflow)["both"] == "blocked", "it waits for weak again"
    assert run_all(engine) == ["weak", "both"]


def test_a_task_whose_successor_goes_on_already_is_refused(engine: Engine) -> None:
    engine.define({"weak": step(tolerated=True), "after": ["weak"]})
    workflow = engine.start()
    engine.finish(engine.claim_one().failed())
    before = engine.snapshot()
    assert refused(lambda: engine.retry_task(task_id(engine, workflow, "weak"))) == REFUSED
    assert engine.snapshot() == before


def test_twice_is_one_effect(engine: Engine) -> None:
    workflow = play(engine, {"a": [], "b": ["a"]}, {"a": "failed"})
    task = task_id(engine, workflow, "a")
    engine.retry_task(task, 600)
    before = engine.snapshot()
    assert engine.retry_task(task, 600) == 0
    assert engine.snapshot() == before
    claim = engine.claim_one()
    before = engine.snapshot()
    assert refused(lambda: engine.retry_task(task, 600)) == REFUSED
    assert engine.snapshot() == before
    engine.finish(claim.succeeded())


def test_a_pending_task_takes_the_timeout_and_gets_a_lost_job_back(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    task = task_id(engine, workflow, "a")
    assert engine.retry_task(task, 600) == 0
    engine.run("delete from procrastinate_jobs")
    assert engine.retry_task(task) == 1
    claim = engine.claim_one()
    assert (claim.attempt, claim.raw["timeout"]) == (1, 600)


def test_a_task_in_its_backoff_runs_now(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    engine.finish(engine.claim_one().retried(3600))
    assert engine.claim() == []
    assert engine.retry_task(task_id(engine, workflow, "a"), 600) == 1
    assert engine.events(workflow)[-1] == "task.woken"
    claim = engine.claim_one()
    assert (claim.attempt, claim.raw["tries"], claim.raw["timeout"]) == (2, 1, 600)


@pytest.mark.parametrize("outcome", ["succeeded", "skipped"])
def test_what_needs_no_retry_is_refused(engine: Engine, outcome: str) -> None:
    workflow = play(engine, {"a": [], "bad": []}, {"a": outcome, "bad": "failed"}, fail_fast=False)
    before = engine.snapshot()
    assert refused(lambda: engine.retry_task(task_id(engine, workflow, "a"))) == REFUSED
    assert engine.snapshot() == before


def test_what_waits_or_could_not_run_is_refused(engine: Engine) -> None:
    workflow = play(engine, {"a": [], "b": ["a"]}, {"a": "failed"}, fail_fast=False)
    with pytest.raises(psycopg.Error) as error:
        engine.retry_task(task_id(engine, workflow, "b"))
    assert (error.value.sqlstate, error.value.diag.message_detail) == REFUSED
    failed = task_id(engine, workflow, "a")
    assert error.value.diag.message_hint == f"Retry what failed first: task {failed}, step a."
    engine.retry_task(failed)
    assert refused(lambda: engine.retry_task(task_id(engine, workflow, "b"))) == REFUSED


def test_a_tolerated_failure_of_a_workflow_that_succeeded_is_refused(engine: Engine) -> None:
    workflow = play(engine, {"weak": step(tolerated=True)}, {"weak": "failed"})
    assert engine.status(workflow) == "succeeded"
    assert refused(lambda: engine.retry_task(task_id(engine, workflow, "weak"))) == REFUSED


def test_a_task_of_a_cancelled_workflow_needs_force(engine: Engine) -> None:
    engine.define({"a": [], "b": ["a"]})
    workflow = engine.start()
    engine.claim()
    engine.cancel(workflow)
    task = task_id(engine, workflow, "b")
    assert refused(lambda: engine.retry_task(task)) == REFUSED
    assert engine.retry_task(task, 60, force=True) == 2
    assert engine.tasks(workflow) == {"a": "pending", "b": "blocked"}
    engine.finish(engine.claim_one().succeeded())
    assert engine.claim_one().raw["timeout"] == 60


def test_an_unknown_task_and_a_time_that_is_none_are_refused(engine: Engine) -> None:
    assert refused(lambda: engine.retry_task(1)) == ("WF404", "task-not-found")
    for timeout in (0, -1, float("inf"), float("nan")):
        assert refused(lambda timeout=timeout: engine.retry_task(1, timeout)) == ("WF422", "invalid-parameter")  # type: ignore[misc]


def test_a_retry_waits_for_a_claim_under_way_and_then_finds_the_task_running(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[int]"]
) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    claims: list[Claim] = []
    with engine.transaction():
        claims += engine.claim()
        retried = blocked(other, lambda: other.retry_task(claims[0].task_id, 600))
    with pytest.raises(psycopg.Error) as error:
        retried.result()
    assert error.value.sqlstate == "WF409"
    assert engine.finish(claims[0].succeeded()) == []
    assert engine.status(workflow) == "succeeded"


def test_the_late_result_of_the_attempt_before_is_stale(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    old = engine.claim_one()
    engine.cancel(workflow)
    engine.retry_task(old.task_id, force=True)
    assert engine.finish(old.succeeded()) == [0]
    assert engine.finish(engine.claim_one().succeeded()) == []


# Pauses ---------------------------------------------------------------------------------------------------------------


def test_a_retry_passes_by_no_pause(engine: Engine) -> None:
    engine.define({"held": [], "backoff": []})
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["held"].released(), claims["backoff"].retried(3600))
    engine.pause_workflow(workflow)
    assert engine.claim() == []
    assert engine.retry_task(claims["held"].task_id, 600) == 0
    assert engine.retry_task(claims["backoff"].task_id) == 1
    assert engine.claim() == []
    engine.resume_workflow(workflow)
    assert {c.step: c.raw["timeout"] for c in engine.claim()} == {"held": 600, "backoff": None}


def test_what_a_retry_reopens_in_a_paused_workflow_waits(engine: Engine) -> None:
    engine.define({"a": [], "slow": []}, fail_fast=False)
    workflow = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["a"].failed())
    engine.pause_workflow(workflow)
    assert engine.retry_task(claims["a"].task_id) == 1
    assert engine.claim() == []
    engine.resume_workflow(workflow)
    assert engine.claim_one().step == "a"


def test_a_retry_of_a_held_workflow_leaves_it_held(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    engine.pause_workflow(workflow)
    assert engine.claim() == []
    before = engine.snapshot()
    assert engine.retry(workflow) == 0
    assert engine.snapshot() == before


def test_a_retry_passes_by_no_lock(engine: Engine) -> None:
    engine.define({"a": step(locks=["ledger"])})
    engine.start()
    waiting = engine.start()
    holder = engine.claim_one()
    assert engine.line("ledger") == [waiting]
    before = engine.snapshot()
    assert engine.retry_task(task_id(engine, waiting, "a")) == 0
    assert engine.retry(waiting) == 0
    assert engine.snapshot() == before
    assert engine.claim() == []
    engine.finish(holder.succeeded())
    assert engine.claim_one().workflow == waiting
