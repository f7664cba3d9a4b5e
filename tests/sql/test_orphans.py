"""Orphaned workflows: found with the reason, taken back or ended by the operator, left alone when they live."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from .engine import Claim, Engine


def claimed(engine: Engine, *steps: str, **fields: Any) -> dict[str, Claim]:
    """Claims of a fresh workflow's independent steps."""
    engine.define({step: [] for step in steps or ("a",)}, **fields)
    engine.start()
    return {claim.step: claim for claim in engine.claim()}


def stop(engine: Engine) -> None:
    engine.value("select workflow.set_worker_status(%s, 'stopped')", engine.worker_id)


def answer(**lists: Any) -> dict[str, Any]:
    return {"recovered": [], "cancelled": [], "skipped": [], "tasks": {}, **lists}


# Found ----------------------------------------------------------------------------------------------------------------


def test_what_runs_on_a_worker_that_beats_is_no_orphan_draining_or_not(engine: Engine) -> None:
    claims = claimed(engine)
    assert engine.orphans() == {}
    engine.set_clock("29 seconds")
    engine.heartbeat(list(claims.values()))
    engine.value("select workflow.set_worker_status(%s, 'draining')", engine.worker_id)
    engine.set_clock("58 seconds")
    assert engine.orphans() == {}
    assert engine.recover_orphaned() == answer()
    assert engine.finish(claims["a"].succeeded()) == []


def test_a_dead_worker_leaves_orphans_since_its_last_heartbeat(engine: Engine) -> None:
    claimed(engine)
    engine.set_clock("31 seconds")
    row = engine.rows(
        "select reason, since = (select last_heartbeat_at from workflow.workers where id = %s) as right, worker, step,"
        " attempt, workflow_status from workflow.orphaned",
        engine.worker_id,
    )
    assert row == [
        {
            "reason": "worker_dead",
            "right": True,
            "worker": "test",
            "step": "a",
            "attempt": 1,
            "workflow_status": "running",
        }
    ]


def test_an_expired_lease_of_a_worker_that_beats_is_told_apart(engine: Engine) -> None:
    claimed(engine)
    engine.set_clock("31 seconds")
    engine.heartbeat()
    assert engine.orphans() == {"a": "lock_expired"}


def test_what_a_stopped_or_unknown_worker_holds_is_orphaned_before_its_lease_ends(engine: Engine) -> None:
    claimed(engine)
    stop(engine)
    assert engine.orphans() == {"a": "worker_dead"}
    engine.run("delete from workflow.workers")
    assert engine.orphans() == {"a": "worker_dead"}


def test_a_lost_job_is_a_lost_wakeup_whatever_the_task_waits_for(engine: Engine) -> None:
    claims = claimed(engine, "pending", "scheduled", "running")
    engine.finish(claims["pending"].released(), claims["scheduled"].retried(60))
    engine.run("delete from procrastinate_jobs")
    assert engine.orphans() == {"pending": "lost_wakeup", "scheduled": "lost_wakeup"}, "running still has its worker"
    stop(engine)
    assert engine.orphans() == dict.fromkeys(("pending", "scheduled", "running"), "lost_wakeup")
    assert engine.recover_orphaned()["tasks"] == {"lost_wakeup": 3}


def test_lost_wakeups_are_looked_for_among_the_oldest_live_workflows(engine: Engine) -> None:
    engine.define({"a": []})
    workflows = [engine.start() for _ in range(3)]
    engine.run("delete from procrastinate_jobs")
    found = engine.rows("select workflow_id from workflow.orphaned_tasks(p_scan => 2)")
    assert {row["workflow_id"] for row in found} == set(workflows[:2])
    assert engine.recover_orphaned()["tasks"] == {"lost_wakeup": 3}


def test_after_a_start_of_postgres_nothing_that_runs_is_judged_for_a_while(engine: Engine) -> None:
    claims = claimed(engine, "running", "pending")
    engine.finish(claims["pending"].released())
    engine.run("delete from procrastinate_jobs where status = 'todo'")
    engine.set_clock("31 seconds")
    assert engine.orphans(grace_seconds=1e9) == {"pending": "lost_wakeup"}
    engine.recover_orphaned(grace_seconds=1e9)
    assert engine.tasks(claims["running"].workflow)["running"] == "running"


# Recovered ------------------------------------------------------------------------------------------------------------


def test_recovery_takes_a_dead_workers_lease_back_at_once(engine: Engine, other: Engine) -> None:
    claim = claimed(engine)["a"]
    stop(engine)
    assert other.recover_orphaned() == answer(recovered=[str(claim.workflow)], tasks={"worker_dead": 1})
    assert engine.outcomes(claim.workflow, "a") == ["lost"]
    assert other.recover_orphaned() == answer()
    again = other.claim_one()
    assert (again.task_id, again.attempt) == (claim.task_id, 2)
    assert other.finish(claim.succeeded()) == [0], "the late result is stale"
    assert other.finish(again.succeeded()) == []


def test_recovery_fails_a_task_that_was_lost_too_often(engine: Engine) -> None:
    claim = claimed(engine)["a"]
    stop(engine)
    assert engine.recover_orphaned(max_crashes=1)["recovered"] == [str(claim.workflow)]
    assert engine.workflow(claim.workflow)["error"]["type"] == "worker_lost"


def test_recovery_takes_back_only_what_is_orphaned(engine: Engine, other: Engine) -> None:
    engine.define({"mine": [], "theirs": []})
    workflow = engine.start()
    (mine,) = engine.claim(1)
    (theirs,) = other.claim(1)
    stop(engine)
    other.recover_orphaned()
    assert engine.outcomes(workflow, mine.step) == ["lost"]
    assert other.finish(theirs.succeeded()) == []
    other.finish(other.claim_one().succeeded())


def test_cancel_ends_orphans_and_nothing_else(engine: Engine) -> None:
    claim = claimed(engine, "a", "b")["a"]
    stop(engine)
    engine.register()
    healthy = engine.start()
    engine.claim()
    assert engine.recover_orphaned(action="cancel") == answer(cancelled=[str(claim.workflow)], tasks={"worker_dead": 2})
    assert (engine.status(claim.workflow), engine.status(healthy)) == ("cancelled", "running")
    assert engine.recover_orphaned(action="cancel") == answer()


@pytest.mark.parametrize("action", ["recover", "cancel"])
def test_a_dry_run_says_the_same_and_changes_nothing(engine: Engine, action: str) -> None:
    claimed(engine)
    stop(engine)
    before = engine.snapshot()
    said = engine.recover_orphaned(action=action, dry_run=True)
    assert engine.snapshot() == before
    assert engine.recover_orphaned(action=action) == said


def test_ids_that_cannot_be_recovered_are_skipped_with_the_reason(engine: Engine) -> None:
    ended = claimed(engine)["a"]
    engine.finish(ended.succeeded())
    orphan = claimed(engine)["a"]
    stop(engine)
    engine.register()
    healthy = claimed(engine)["a"]
    unknown = uuid4()
    recovered = engine.recover_orphaned([unknown, ended.workflow, orphan.workflow, healthy.workflow])
    assert recovered["recovered"] == [str(orphan.workflow)]
    assert [(s["id"], s["why"]) for s in recovered["skipped"]] == [
        (str(unknown), "There is no workflow with this id."),
        (str(ended.workflow), "It has ended: succeeded."),
        (str(healthy.workflow), "It is not orphaned."),
    ]
    assert engine.recover_orphaned([]) == answer()


def test_recovery_goes_in_bounded_batches(engine: Engine) -> None:
    engine.define({"a": []})
    for _ in range(5):
        engine.start()
    engine.claim()
    stop(engine)
    assert [len(engine.recover_orphaned(limit=2)["recovered"]) for _ in range(4)] == [2, 2, 1, 0]


def test_one_that_another_transaction_holds_is_skipped_and_holds_nobody_up(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[dict[str, Any]]"]
) -> None:
    engine.define({"a": []})
    held, free = engine.start(), engine.start()
    engine.claim()
    stop(engine)
    with engine.transaction():
        engine.run("select 1 from workflow.workflows where id = %s for update", held)
        found = blocked(other, other.recover_orphaned).result()
    assert found["recovered"] == [str(free)]
    assert [s["id"] for s in found["skipped"]] == [str(held)]
    assert "try again" in found["skipped"][0]["why"]


def test_a_completion_that_commits_first_wins_over_the_recovery(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[dict[str, Any]]"]
) -> None:
    claim = claimed(engine)["a"]
    other.set_clock("31 seconds")
    with engine.transaction():
        engine.finish(claim.succeeded())
        recovery = blocked(other, other.recover_orphaned)
    assert [s["why"] for s in recovery.result()["skipped"]] == ["It has ended: succeeded."]
    assert engine.status(claim.workflow) == "succeeded"


def test_an_unknown_action_is_refused(engine: Engine) -> None:
    with pytest.raises(psycopg.Error) as error:
        engine.recover_orphaned(action="restart")
    assert error.value.sqlstate == "WF422"


def test_recovery_frees_the_locks_of_the_dead(engine: Engine, other: Engine) -> None:
    engine.define({"a": {"locks": ["ledger"]}})
    held, waiting = engine.start(), engine.start()
    engine.claim()
    assert (engine.holders("ledger"), engine.line("ledger")) == ([held], [waiting])
    stop(engine)
    assert other.recover_orphaned()["recovered"] == [str(held)]
    assert engine.holders("ledger") == []
    assert other.claim()[0].workflow == waiting


# Dead workers ---------------------------------------------------------------------------------------------------------


def worker_list(engine: Engine, worker_id: int) -> dict[str, Any]:
    return engine.rows("select status, current_tasks, lost_tasks from workflow.worker_list where id = %s", worker_id)[0]


def test_what_a_dead_worker_held_is_still_seen_when_it_was_taken_over(engine: Engine, other: Engine) -> None:
    claims = claimed(engine, "a", "done")
    engine.finish(claims["done"].succeeded())
    dead, task = engine.worker_id, claims["a"].task_id
    other.set_clock("31 seconds")
    other.heartbeat()
    assert worker_list(other, dead) == {"status": "dead", "current_tasks": [task], "lost_tasks": []}
    (held,) = other.rows("select * from workflow.tasks_of_workers(%s)", [dead])
    assert (held["task_id"], held["path"], held["workflow_name"], held["taken_back_at"]) == (task, "a", "flow", None)
    assert other.sweep_expired_leases() == (1, 0)
    assert worker_list(other, dead) == {"status": "dead", "current_tasks": [], "lost_tasks": [task]}
    (held,) = other.rows("select * from workflow.tasks_of_workers(%s)", [dead])
    assert (held["status"], held["attempt"], held["taken_back_at"] is None) == ("pending", 1, False)
    again = other.claim_one()
    (held,) = other.rows("select * from workflow.tasks_of_workers(%s)", [dead])
    assert (held["status"], held["attempt"], held["now_attempt"]) == ("running", 1, 2)
    (own,) = other.rows("select * from workflow.tasks_of_workers(%s)", [other.worker_id])
    assert (own["task_id"], own["attempt"], own["taken_back_at"]) == (task, 2, None)
    other.finish(again.succeeded())
    assert worker_list(other, dead)["lost_tasks"] == [task]
    other.set_clock("23 hours 59 minutes")
    other.sweep_retired()
    assert worker_list(other, dead)["lost_tasks"] == [task]
    other.set_clock("24 hours 1 minute")
    other.sweep_retired()
    assert other.rows("select 1 from workflow.workers where id = %s", dead) == []


def test_the_sweep_says_whose_leases_ran_out(engine: Engine, other: Engine) -> None:
    engine.define({"a": [], "b": []})
    workflow: UUID = engine.start()
    engine.claim(1)
    other.claim(1)
    other.set_clock("31 seconds")
    other.heartbeat()
    row = other.rows("select worker_dead, lock_expired from workflow.sweep_expired_leases()")[0]
    assert row == {"worker_dead": 1, "lock_expired": 1}
    assert set(engine.tasks(workflow).values()) == {"pending"}
