"""Leases: heartbeats renew them, the sweep takes back what expired, a reconnected worker hands back what it forgot."""

from collections.abc import Callable
from concurrent.futures import Future

import psycopg
import pytest

from .engine import Claim, Engine


def claims_of(engine: Engine, *steps: str) -> list[Claim]:
    """Claims of a fresh workflow's independent steps, in their order."""
    engine.define({step: [] for step in steps})
    engine.start()
    return sorted(engine.claim(), key=lambda c: c.task_id)


# Heartbeats -----------------------------------------------------------------------------------------------------------


def test_heartbeat_renews_the_leases_it_names_and_no_others(engine: Engine) -> None:
    named, forgotten = claims_of(engine, "named", "forgotten")
    engine.set_clock("20 seconds")
    assert engine.heartbeat([named]) == []
    engine.set_clock("40 seconds")
    assert engine.sweep_expired_leases() == (1, 0)
    assert engine.tasks(named.workflow) == {"named": "running", "forgotten": "pending"}
    engine.set_clock("51 seconds")
    assert engine.sweep_expired_leases() == (1, 0)
    assert engine.tasks(named.workflow)["named"] == "pending"
    assert engine.finish(forgotten.succeeded()) == [0]


def test_heartbeat_names_the_leases_that_are_gone(engine: Engine) -> None:
    kept, done, lost = claims_of(engine, "kept", "done", "lost")
    engine.finish(done.succeeded())
    engine.finish(lost.released())
    again = engine.claim_one()
    assert again.task_id == lost.task_id
    assert sorted(engine.heartbeat([kept, done, lost]) or []) == sorted([done.task_id, lost.task_id])
    assert engine.heartbeat([kept, again]) == []


def test_heartbeat_names_cancelled_tasks(engine: Engine) -> None:
    (claim,) = claims_of(engine, "a")
    engine.cancel(claim.workflow)
    assert engine.heartbeat([claim]) == [claim.task_id]


def test_heartbeat_renews_an_expired_lease_that_nobody_swept(engine: Engine) -> None:
    (claim,) = claims_of(engine, "a")
    engine.set_clock("1 hour")
    assert engine.heartbeat([claim]) == []
    assert engine.sweep_expired_leases() == (0, 0)
    assert engine.finish(claim.succeeded()) == []


def test_heartbeat_of_an_unknown_or_stopped_worker_is_answered_with_null(engine: Engine) -> None:
    assert engine.heartbeat() == []
    engine.value("select workflow.set_worker_status(%s, 'stopped')", engine.worker_id)
    assert engine.heartbeat() is None
    engine.worker_id = 0
    assert engine.heartbeat() is None


def test_heartbeat_without_tasks_keeps_the_worker_alive(engine: Engine) -> None:
    engine.set_clock("20 seconds")
    engine.heartbeat()
    row = engine.rows("select last_heartbeat_at > started_at as moved, rss_bytes from workflow.worker_list")[0]
    assert row == {"moved": True, "rss_bytes": 1000}


def test_heartbeat_does_not_wait_for_a_task_that_another_transaction_holds(engine: Engine, other: Engine) -> None:
    held, free = claims_of(engine, "held", "free")
    with other.transaction():
        other.finish(held.succeeded())
        engine.set_clock("20 seconds")
        assert engine.heartbeat([held, free]) == []
    assert engine.heartbeat([held, free]) == [held.task_id]


# The sweep ------------------------------------------------------------------------------------------------------------


def test_expired_lease_goes_to_another_worker(engine: Engine, other: Engine) -> None:
    (claim,) = claims_of(engine, "a")
    engine.set_clock("29 seconds")
    assert engine.sweep_expired_leases() == (0, 0)
    engine.set_clock("31 seconds")
    assert engine.sweep_expired_leases() == (1, 0)
    again = other.claim_one()
    assert (again.task_id, again.attempt, again.raw["tries"]) == (claim.task_id, 2, 0)
    assert engine.outcomes(claim.workflow, "a") == ["lost"]
    other.finish(again.succeeded())


def test_task_that_is_lost_too_often_fails_as_worker_lost(engine: Engine) -> None:
    engine.define({"a": [], "b": ["a"]})
    workflow = engine.start()
    for lost in range(3):
        engine.set_clock(f"{lost} hours")
        engine.claim_one()
        engine.set_clock(f"{lost + 1} hours")
        assert engine.sweep_expired_leases(max_crashes=3) == ((1, 0) if lost < 2 else (0, 1))
    assert engine.status(workflow) == "failed"
    assert engine.outcomes(workflow, "a") == ["lost", "lost", "lost"]
    error = engine.workflow(workflow)["error"]
    assert (error["type"], error["details"]["lost_claims"]) == ("worker_lost", 3)


def test_sweep_takes_no_more_than_its_limit(engine: Engine) -> None:
    claims_of(engine, *(f"s{n}" for n in range(5)))
    engine.set_clock("31 seconds")
    assert [engine.sweep_expired_leases(limit=2) for _ in range(4)] == [(2, 0), (2, 0), (1, 0), (0, 0)]


def test_sweep_takes_nothing_in_the_grace_time_after_a_start_of_postgres(engine: Engine) -> None:
    (claim,) = claims_of(engine, "a")
    engine.set_clock("31 seconds")
    assert engine.sweep_expired_leases(grace_seconds=1e9) == (0, 0)
    assert engine.finish(claim.succeeded()) == []


def test_sweep_takes_nothing_when_postgres_was_not_heard_for_longer_than_workers_need_to_renew(engine: Engine) -> None:
    (claim,) = claims_of(engine, "a")
    engine.set_clock("31 seconds")
    sweep = "select recovered from workflow.sweep_expired_leases(3, 0, 10, clock_timestamp() - interval '1 second')"
    assert engine.value(sweep) == 0
    assert engine.finish(claim.succeeded()) == []


def test_two_sweeps_at_once_take_a_lease_back_once(
    engine: Engine, other: Engine, blocked: Callable[..., Future[tuple[int, int]]]
) -> None:
    (claim,) = claims_of(engine, "a")
    engine.set_clock("31 seconds")
    other.set_clock("31 seconds")
    with engine.transaction():
        assert engine.sweep_expired_leases() == (1, 0)
        second = blocked(other, other.sweep_expired_leases)
    assert second.result() == (0, 0)
    assert engine.outcomes(claim.workflow, "a") == ["lost"]


def test_completion_that_commits_first_wins_over_the_sweep(
    engine: Engine, other: Engine, blocked: Callable[..., Future[tuple[int, int]]]
) -> None:
    (claim,) = claims_of(engine, "a")
    other.set_clock("31 seconds")
    with engine.transaction():
        engine.finish(claim.succeeded())
        sweep = blocked(other, other.sweep_expired_leases)
    assert sweep.result() == (0, 0)
    assert engine.status(claim.workflow) == "succeeded"


def test_sweep_that_commits_first_makes_the_completion_stale(
    engine: Engine, other: Engine, blocked: Callable[..., Future[list[int]]]
) -> None:
    (claim,) = claims_of(engine, "a")
    other.set_clock("31 seconds")
    with other.transaction():
        assert other.sweep_expired_leases() == (1, 0)
        late = blocked(engine, lambda: engine.finish(claim.succeeded()))
    assert late.result() == [0]
    assert engine.tasks(claim.workflow) == {"a": "pending"}


def test_heartbeat_that_commits_first_wins_over_the_sweep(
    engine: Engine, other: Engine, blocked: Callable[..., Future[tuple[int, int]]]
) -> None:
    (claim,) = claims_of(engine, "a")
    engine.set_clock("31 seconds")
    other.set_clock("31 seconds")
    with engine.transaction():
        engine.heartbeat([claim])
        sweep = blocked(other, other.sweep_expired_leases)
    assert sweep.result() == (0, 0)
    assert engine.finish(claim.succeeded()) == []


def test_workflow_held_by_a_long_transaction_does_not_stop_the_sweep_of_others(engine: Engine, other: Engine) -> None:
    engine.define({"a": []})
    held, free = engine.start(), engine.start()
    engine.claim()
    engine.set_clock("31 seconds")
    with other.transaction():
        other.cancel(held)
        assert engine.sweep_expired_leases() == (1, 0)
    assert engine.tasks(free) == {"a": "pending"}
    assert engine.status(held) == "cancelled"


def test_sweep_locks_the_workflows_of_all_it_takes_before_their_tasks(engine: Engine, other: Engine) -> None:
    """With a limit, the tasks that are taken must be among those whose workflows were locked."""
    engine.define({"a": []})
    for _ in range(20):
        engine.start()
    claims = engine.claim()
    other.set_clock("31 seconds")
    with other.transaction():
        other.sweep_expired_leases(limit=3)
        taken = other.value("select array_agg(workflow_id) from workflow.tasks where status = 'pending'")
        free = engine.value("select array_agg(id) from (select id from workflow.workflows for update skip locked) w")
        assert len(taken) == 3
        assert len(free) == 17
        assert not set(taken) & set(free)
    other.finish(*(c.released() for c in claims))


# Forgotten and leaked -------------------------------------------------------------------------------------------------


def test_claims_whose_answer_was_lost_are_handed_back_without_a_try(engine: Engine) -> None:
    held, lost = claims_of(engine, "held", "lost")
    assert engine.release_forgotten([held]) == 1
    assert engine.tasks(held.workflow) == {"held": "running", "lost": "pending"}
    assert engine.outcomes(held.workflow, "lost") == ["released"]
    assert engine.release_forgotten([held]) == 0
    assert engine.finish(lost.succeeded()) == [0]
    assert engine.finish(held.succeeded()) == []


def test_worker_hands_back_only_its_own_claims(engine: Engine, other: Engine) -> None:
    (claim,) = claims_of(engine, "a")
    assert other.release_forgotten() == 0
    assert engine.finish(claim.succeeded()) == []


def test_leaked_jobs_are_removed_and_real_ones_stay(engine: Engine) -> None:
    running, done = claims_of(engine, "running", "done")
    engine.finish(done.succeeded())
    engine.run(
        "insert into workflow.jobs (queue_name, task_name, args, status) values"
        " ('default', 'workflow:noop', jsonb_build_object('task_id', %s::bigint), 'doing'),"
        " ('default', 'workflow:noop', '{\"task_id\": 1}', 'doing'), ('default', 'workflow:noop', '{}', 'doing')",
        done.task_id,
    )
    engine.run("insert into procrastinate_jobs (queue_name, task_name, status) values ('default', 'other', 'doing')")
    assert engine.sweep_leaked_jobs() == 3
    assert [job["task_name"] for job in engine.jobs()] == ["workflow:noop", "other"]
    engine.run("delete from procrastinate_jobs where task_name = 'other'")
    assert engine.finish(running.succeeded()) == []


@pytest.mark.parametrize("harm", ["delete from procrastinate_jobs", "update procrastinate_jobs set status = 'failed'"])
def test_task_whose_job_is_gone_gets_a_new_one(engine: Engine, harm: str) -> None:
    """As when a foreign procrastinate worker serves all queues and fails what it does not know."""
    pending, backing_off, running = claims_of(engine, "pending", "backing_off", "running")
    engine.finish(pending.released(), backing_off.retried(60))
    engine.run(harm)
    assert engine.sweep_lost_jobs() == {"mended": 2, "last": None}
    assert engine.sweep_lost_jobs() == {"mended": 0, "last": None}
    assert engine.claim_one().task_id == pending.task_id
    engine.set_clock("29 seconds")  # the lease of the running one is still good
    assert engine.finish(running.succeeded()) == []
    engine.set_clock("61 seconds")
    assert [claim.task_id for claim in engine.claim()] == [backing_off.task_id]
    engine.forget_work()
    engine.run("delete from procrastinate_jobs")


def test_expired_lease_whose_job_is_gone_is_taken_back(engine: Engine) -> None:
    (claim,) = claims_of(engine, "a")
    engine.run("delete from procrastinate_jobs")
    engine.set_clock("40 seconds")
    assert engine.sweep_expired_leases() == (0, 0)
    assert engine.sweep_lost_jobs()["mended"] == 1
    assert engine.outcomes(claim.workflow, "a") == ["lost"]
    assert engine.claim_one().attempt == 2


def test_lost_jobs_are_looked_for_in_one_part_of_the_live_workflows_after_the_other(engine: Engine) -> None:
    engine.define({"a": []})
    workflows = sorted(engine.start() for _ in range(5))
    engine.run("delete from procrastinate_jobs")
    first = engine.sweep_lost_jobs(limit=3)
    assert first == {"mended": 3, "last": str(workflows[2])}
    assert engine.sweep_lost_jobs(workflows[2], limit=3) == {"mended": 2, "last": None}


@pytest.mark.parametrize("due", ["now()", "null"])
def test_job_that_procrastinates_tools_put_back_is_taken_for_running_again(engine: Engine, due: str) -> None:
    """Its documented rescue of stalled jobs puts every `doing` job back to `todo`, though ours hold a lease."""
    (claim,) = claims_of(engine, "a")
    engine.run(f"select procrastinate_retry_job_v2(id, {due}, null, null, null) from procrastinate_jobs")
    turn = engine.turn(want=1)
    assert turn["claims"] == []
    assert engine.turn(want=1)["again"] is False, "a worker would ask again and again"
    engine.set_clock("31 seconds")
    assert engine.sweep_expired_leases() == (1, 0)
    assert engine.claim_one().attempt == claim.attempt + 1


def test_worker_whose_registration_was_pruned_is_told_so(engine: Engine) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    engine.run("delete from procrastinate_workers")
    turn = engine.turn(want=1)
    assert (turn["claims"], turn["registered"]) == ([], False)
    assert engine.tasks(workflow) == {"a": "pending"}


def test_retired_keys_and_workers_are_forgotten_after_a_day(engine: Engine, other: Engine) -> None:
    engine.define({"a": []})
    engine.start_many([{"name": "flow"}], key="old")
    engine.set_clock("23 hours")
    assert engine.sweep_retired() == 0
    engine.set_clock("25 hours")
    engine.heartbeat()
    assert engine.sweep_retired() == 2
    assert engine.rows("select id from workflow.workers") == [{"id": engine.worker_id}]
    assert other.turn(want=1)["registered"] is False


def test_worker_that_drains_or_stopped_claims_nothing_but_may_deliver(engine: Engine) -> None:
    (claim,) = claims_of(engine, "a")
    workflow = engine.start()
    for status in ("draining", "stopped"):
        engine.value("select workflow.set_worker_status(%s, %s)", engine.worker_id, status)
        turn = engine.turn([claim.succeeded()], want=1)
        assert (turn["stale"], turn["claims"], turn["registered"]) == ([], [], False)
    assert engine.tasks(workflow) == {"a": "pending"}


def test_worker_status_that_does_not_exist_is_refused(engine: Engine) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        engine.value("select workflow.set_worker_status(%s, 'dead')", engine.worker_id)


def test_worker_list_shows_what_a_worker_holds(engine: Engine) -> None:
    claims = claims_of(engine, "a", "b")
    row = engine.rows("select current_tasks, queues, task_types from workflow.worker_list")[0]
    assert row == {
        "current_tasks": [c.task_id for c in claims], "queues": ["default"], "task_types": ["http", "noop"],
    }  # fmt: skip
