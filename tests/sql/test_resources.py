"""Locks and limits: who gets them, who waits, who is next, and that everything that ends an attempt frees them."""

import random
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from uuid import UUID

import psycopg
import pytest
from support.invariants import assert_sound

from .engine import Claim, Completion, Engine

LOCKED: dict[str, Any] = {"a": {"locks": ["ledger"]}}


def start_all(engine: Engine, count: int, **fields: Any) -> list[UUID]:
    return [engine.start(**fields) for _ in range(count)]


def test_a_lock_is_held_by_one_task_at_a_time_and_goes_to_the_next_in_line(engine: Engine) -> None:
    engine.define(LOCKED)
    first, second, third = start_all(engine, 3)
    (claim,) = engine.claim()
    assert (claim.workflow, engine.holders("ledger"), engine.line("ledger")) == (first, [first], [second, third])
    assert engine.held(second) == {"a"}
    assert engine.status(second) == "pending"
    assert engine.turn(want=5)["again"] is False

    turn = engine.turn([claim.succeeded()], want=5)
    (claim,) = engine.claims_of(turn)
    assert (claim.workflow, engine.holders("ledger"), engine.line("ledger")) == (second, [second], [third])
    engine.finish(claim.succeeded())
    engine.finish(engine.claim_one().succeeded())
    assert engine.status(third) == "succeeded"
    assert engine.holders("ledger") == engine.line("ledger") == []


def test_the_line_goes_by_priority_and_then_by_time(engine: Engine) -> None:
    engine.define(LOCKED)
    holder, early, late = start_all(engine, 3)
    claim = engine.claim_one()
    urgent = engine.start(priority=5)
    assert engine.claim() == []
    assert engine.line("ledger") == [urgent, early, late]
    order = []
    while claim:
        order.append(claim.workflow)
        (claim, *_) = [*engine.claims_of(engine.turn([claim.succeeded()], want=5)), None]
    assert order == [holder, urgent, early, late]


ENDS: dict[str, Callable[[Claim], Completion]] = {
    "succeeded": Claim.succeeded,
    "failed": Claim.failed,
    "retried": lambda claim: claim.retried(60),
    "skipped": Claim.skipped,
    "released": Claim.released,
}


@pytest.mark.parametrize("end", list(ENDS))
def test_whatever_ends_the_attempt_frees_its_lock(engine: Engine, end: str) -> None:
    engine.define(LOCKED)
    first, second = start_all(engine, 2)
    (claim,) = engine.claim()
    assert engine.finish(ENDS[end](claim)) == []
    assert engine.line("ledger") == []
    assert second in {c.workflow for c in engine.claim()} or end == "released"
    assert len(engine.holders("ledger")) == 1
    assert engine.status(first) in ("running", "succeeded", "failed")


def test_a_cancel_frees_the_lock_and_leaves_the_line(engine: Engine) -> None:
    engine.define(LOCKED)
    first, second, third = start_all(engine, 3)
    engine.claim()
    engine.cancel(second)
    assert engine.line("ledger") == [third]
    engine.cancel(first)
    assert engine.claim_one().workflow == third


def test_a_lost_claim_frees_the_lock_and_its_late_result_is_stale(engine: Engine) -> None:
    engine.define(LOCKED)
    first, second = start_all(engine, 2)
    (lost,) = engine.claim()
    engine.set_clock("31 seconds")
    assert engine.sweep_expired_leases() == (1, 0)
    (claim,) = engine.claim()
    assert claim.workflow == second
    assert engine.finish(lost.succeeded()) == [0]
    assert engine.holders("ledger") == [second]
    engine.finish(claim.succeeded())
    assert engine.claim_one().workflow == first


def test_a_step_completed_in_its_own_transaction_frees_its_lock_with_it(engine: Engine, other: Engine) -> None:
    engine.define(LOCKED)
    _, second = start_all(engine, 2)
    (claim,) = engine.claim()
    with engine.transaction():
        engine.complete_task(claim)
        assert other.line("ledger") == [second]
    assert other.claim_one().workflow == second


def test_a_woken_task_that_is_cancelled_passes_the_lock_on(engine: Engine) -> None:
    engine.define(LOCKED)
    _, second, third = start_all(engine, 3)
    (claim,) = engine.claim()
    engine.finish(claim.succeeded())
    assert engine.line("ledger") == [third]
    engine.cancel(second)
    assert engine.line("ledger") == []
    assert engine.claim_one().workflow == third


def test_a_woken_task_of_a_workflow_that_is_paused_passes_the_lock_on_and_comes_back(engine: Engine) -> None:
    engine.define(LOCKED)
    _, second, third = start_all(engine, 3)
    (claim,) = engine.claim()
    engine.finish(claim.succeeded())
    engine.pause_workflow(second)
    (claim,) = engine.claim()
    assert claim.workflow == third
    engine.resume_workflow(second)
    assert engine.claim() == []
    engine.finish(claim.succeeded())
    assert engine.claim_one().workflow == second


def test_who_waits_in_a_paused_workflow_gives_up_its_place_until_it_is_resumed(engine: Engine) -> None:
    engine.define(LOCKED)
    _, second, third = start_all(engine, 3)
    (claim,) = engine.claim()
    engine.pause_workflow(second)
    assert engine.line("ledger") == [third]
    engine.resume_workflow(second)
    assert engine.claim() == []
    assert engine.line("ledger") == [second, third]
    engine.finish(claim.released())


def test_in_a_paused_engine_what_has_not_started_is_passed_over_in_the_line(engine: Engine) -> None:
    engine.define({"first": [], "a": {"after": ["first"], "locks": ["ledger"]}})
    running = engine.start()
    first = engine.claim_one()
    engine.define(LOCKED, name="other")
    holder, unstarted = start_all(engine, 2, name="other")
    (claim,) = engine.claim()
    engine.finish(first.succeeded())
    assert engine.claim() == []
    assert engine.line("ledger") == [unstarted, running]
    engine.pause()
    (claim,) = engine.claims_of(engine.turn([claim.succeeded()], want=5))
    assert claim.workflow == running
    engine.finish(claim.succeeded())
    assert engine.claim() == []
    engine.resume()
    assert engine.sweep_waiters()["woken"] == 1
    assert engine.claim_one().workflow == unstarted
    assert engine.status(holder) == "succeeded"


def test_however_many_a_paused_engine_does_not_start_nobody_waits_behind_them(engine: Engine) -> None:
    engine.define({"first": [], "a": {"after": ["first"], "locks": ["ledger"]}})
    running = engine.start()
    first = engine.claim_one()
    engine.define(LOCKED, name="other")
    engine.start_many([{"name": "other"}] * 250)
    (claim,) = engine.claim()
    while len(engine.line("ledger")) < 249:
        engine.claim(100)
    engine.finish(first.succeeded())
    assert engine.claim() == []
    engine.pause()
    engine.finish(claim.succeeded())
    assert engine.claim_one().workflow == running


def test_a_lock_of_a_workflow_is_held_to_its_end_and_its_own_tasks_pass(engine: Engine) -> None:
    engine.define({
        "open": {"workflow_locks": ["ledger"]},
        "write": {"after": ["open"], "locks": ["ledger"]},
        "read": {"after": ["open"], "workflow_locks": ["ledger"]},
    })  # fmt: skip
    first, second = start_all(engine, 2)
    engine.finish(engine.claim_one("open").succeeded())
    claims = {c.step: c for c in engine.claim()}
    assert {(c.workflow, c.step) for c in claims.values()} == {(first, "write"), (first, "read")}
    engine.finish(claims["write"].succeeded(), claims["read"].retried())
    assert (engine.holders("ledger"), engine.line("ledger")) == ([first], [second])
    engine.finish(engine.claim_one().succeeded())
    assert engine.status(first) == "succeeded"
    assert engine.claim_one().workflow == second


def test_a_failure_that_ends_the_workflow_frees_what_it_held_as_a_whole(engine: Engine) -> None:
    engine.define({"open": {"workflow_locks": ["ledger"]}, "b": [], "behind": ["open"]})
    first = engine.start()
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["open"].succeeded())
    assert engine.holders("ledger") == [first]
    engine.finish(claims["b"].failed())
    assert (engine.status(first), engine.holders("ledger")) == ("failed", [])
    engine.retry(first)  # what is kept is not locked again: a step says for itself what it needs
    assert {c.step for c in engine.claim()} == {"b", "behind"}
    assert engine.holders("ledger") == []


def test_a_task_that_waited_for_a_lock_passes_when_its_own_workflow_gets_it(engine: Engine) -> None:
    engine.define({"task": {"locks": ["ledger"]}, "whole": {"workflow_locks": ["ledger"], "priority": 1}})
    engine.define(LOCKED, name="other")
    engine.start("other")
    (claim,) = engine.claim()
    workflow = engine.start()
    assert engine.claim() == []
    assert engine.line("ledger") == [workflow, workflow]
    engine.finish(claim.succeeded())
    (whole,) = engine.claim(1)
    assert whole.step == "whole"
    assert engine.claim_one().step == "task"  # beside the one that holds it for the workflow
    assert engine.holders("ledger") == [workflow]


def test_whom_a_lock_of_its_own_workflow_did_not_wake_is_woken_later(engine: Engine, other: Engine) -> None:
    engine.define({"task": {"locks": ["ledger"]}, "whole": {"workflow_locks": ["ledger"], "priority": 1}})
    engine.define(LOCKED, name="other")
    engine.start("other")
    (claim,) = engine.claim()
    workflow = engine.start()
    assert engine.claim() == []
    engine.finish(claim.succeeded())
    task = engine.task(workflow, "task")
    with other.transaction():  # somebody wakes it, and does not come to an end
        other.rows("select 1 from procrastinate_jobs where id = %s for update", task["job_id"])
        other.rows("select 1 from workflow.waits where task_id = %s for update", task["id"])
        assert engine.sweep_waiters()["woken"] == 0
        (whole,) = engine.claim()
        assert whole.step == "whole"
    assert engine.claim() == []
    assert engine.sweep_waiters()["woken"] == 1
    assert engine.claim_one().step == "task"


def test_all_units_that_come_free_at_once_are_given_to_the_line_at_once(engine: Engine) -> None:
    engine.define({"a": {"limits": {"some": (50, 1)}}})
    start_all(engine, 100)
    claims = engine.claim(100)
    assert len(claims) == 50
    engine.finish(*(c.succeeded() for c in claims))
    assert engine.line("some") == []
    assert len(engine.claim(100)) == 50


def test_units_in_use_never_exceed_what_a_step_allows(engine: Engine) -> None:
    engine.define({"a": {"limits": {"openai": (3, 1)}}})
    engine.define({"a": {"limits": {"openai": (3, 2)}}}, name="heavy")
    light = start_all(engine, 2)
    heavy = engine.start("heavy")
    later = engine.start()
    claims = engine.claim()
    assert {c.workflow for c in claims} == {*light, later}
    assert engine.line("openai") == [heavy]
    engine.finish(claims[0].succeeded())
    assert engine.claim() == []  # one unit is free, it needs two
    engine.finish(claims[1].succeeded())
    assert engine.claim_one().workflow == heavy


def test_a_task_gets_all_its_locks_or_none(engine: Engine) -> None:
    engine.define({"a": {"locks": ["x"]}}, name="x")
    engine.define({"a": {"locks": ["y"]}}, name="y")
    engine.define({"a": {"locks": ["x", "y"]}}, name="both")
    engine.start("x")
    holder = engine.claim_one()
    both, y = engine.start("both"), engine.start("y")
    (claim,) = engine.claim()
    assert (claim.workflow, engine.line("x"), engine.line("y")) == (y, [both], [both])
    engine.finish(holder.succeeded())
    assert engine.claim() == []  # x alone is of no use
    assert engine.line("x") == [both]
    assert [c.workflow for c in engine.claims_of(engine.turn([claim.succeeded()], want=5))] == [both]
    assert (engine.holders("x"), engine.holders("y")) == ([both], [both])


def test_who_was_woken_but_is_not_claimed_does_not_keep_the_others_waiting_for_ever(engine: Engine) -> None:
    engine.define({"a": {"locks": ["ledger"], "queue": "nobody"}}, name="unserved")
    engine.define(LOCKED)
    engine.start()
    (claim,) = engine.claim()
    unserved, served = engine.start("unserved"), engine.start()
    engine.claim(queues=["nobody", "default"])
    assert engine.line("ledger") == [unserved, served]
    engine.finish(claim.succeeded())
    assert engine.claim() == []
    assert engine.sweep_waiters()["woken"] == 0
    engine.set_clock("6 seconds")
    assert engine.sweep_waiters()["woken"] == 1
    assert engine.claim_one().workflow == served


def test_sweeping_the_lines_goes_on_where_it_stopped(engine: Engine) -> None:
    for key in ("x", "y", "z"):
        engine.define({"a": {"locks": [key]}}, name=key)
        start_all(engine, 2, name=key)
    engine.claim()
    engine.run("delete from workflow.holds")  # as if every wake-up had been lost
    engine.run("update workflow.tasks set attempt = attempt where status = 'running'")
    first = engine.sweep_waiters(limit=2)
    second = engine.sweep_waiters(first["last"], limit=2)
    assert (first["woken"], second["woken"], second["last"]) == (2, 1, None)
    engine.forget_work()


def test_a_free_waits_for_a_claim_of_the_same_lock_and_wakes_who_it_left_waiting(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[Any]"]
) -> None:
    engine.define(LOCKED)
    engine.start()
    (claim,) = engine.claim()
    second = engine.start()
    with engine.transaction():
        assert engine.claim() == []  # found it taken, and is about to wait
        freed = blocked(other, lambda: other.finish(claim.succeeded()))
    assert freed.result() == []
    assert engine.claim_one().workflow == second


def test_a_claim_does_not_wait_for_a_free_and_asks_again(engine: Engine, other: Engine) -> None:
    engine.define(LOCKED)
    engine.start()
    (claim,) = engine.claim()
    second = engine.start()
    third = engine.start()
    engine.claim(1)
    with other.transaction():
        other.finish(claim.succeeded())
        turn = engine.turn(want=5)
        assert (turn["claims"], turn["again"]) == ([], True)
        assert engine.held(third) == set()
    assert engine.claim_one().workflow == second


def test_two_claims_at_once_cannot_both_take_the_last_unit(engine: Engine, other: Engine) -> None:
    engine.define(LOCKED)
    first, second = start_all(engine, 2)
    with engine.transaction():
        (claim,) = engine.claim(1)
        turn = other.turn(want=5)
        assert (claim.workflow, turn["claims"], turn["again"]) == (first, [], True)
    assert other.claim() == []
    assert engine.line("ledger") == [second]


def test_the_cancel_of_a_waiter_and_its_wake_up_at_once_leave_nothing_behind(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[Any]"]
) -> None:
    engine.define(LOCKED)
    _, second, third = start_all(engine, 3)
    (claim,) = engine.claim()
    with engine.transaction():
        engine.finish(claim.succeeded())  # wakes the second
        cancelled = blocked(other, lambda: other.cancel(second))
    assert cancelled.result() == "pending"
    assert engine.claim_one("a").workflow == third


def test_a_free_passes_over_a_waiter_that_is_being_cancelled(engine: Engine, other: Engine) -> None:
    engine.define(LOCKED)
    _, second, third = start_all(engine, 3)
    (claim,) = engine.claim()
    with other.transaction():
        other.run("select 1 from workflow.workflows where id = %s for no key update", second)
        other.run("select 1 from procrastinate_jobs j join workflow.tasks t on t.job_id = j.id"
                  " where t.workflow_id = %s for update of j", second)  # fmt: skip
        engine.finish(claim.succeeded())
        (claim,) = engine.claim()
        assert claim.workflow == third
        other.cancel(second)
    assert engine.line("ledger") == []


def test_released_locks_go_to_who_waits_and_the_holder_runs_again_later(engine: Engine) -> None:
    engine.define(LOCKED)
    first, second = start_all(engine, 2)
    (claim,) = engine.claim()
    engine.run("listen workflow_worker")
    assert engine.release_locks(first) == {"id": str(first), "locks": ["ledger"], "tasks": 1}
    (told,) = engine.connection.notifies(timeout=5, stop_after=1)
    assert told.payload == str(engine.worker_id)
    assert engine.finish(claim.succeeded()) == [0]
    assert (engine.outcomes(first, "a"), engine.task(first, "a")["tries"]) == (["released"], 0)
    (next_claim,) = engine.claim()
    assert next_claim.workflow == second
    engine.finish(next_claim.succeeded())
    assert engine.claim_one().workflow == first
    assert "workflow.locks_released" in engine.events(first)


def test_releasing_the_lock_of_a_whole_workflow_stops_all_that_work_under_it(engine: Engine) -> None:
    engine.define({
        "open": {"workflow_locks": ["ledger"]},
        "write": {"after": ["open"], "locks": ["ledger"]},
        "read": ["open"],
    })  # fmt: skip
    workflow, waiting = start_all(engine, 2)
    engine.finish(engine.claim_one("open").succeeded())
    claims = {c.step: c for c in engine.claim()}
    assert engine.release_locks(workflow)["tasks"] == 1
    assert engine.finish(claims["write"].succeeded(), claims["read"].succeeded()) == [0]
    (claim,) = engine.claim()
    assert (claim.workflow, claim.step) == (waiting, "open")
    assert engine.line("ledger") == [workflow]


def test_releasing_frees_no_limits_and_nothing_twice(engine: Engine) -> None:
    engine.define({"a": {"limits": {"openai": (1, 1)}}})
    workflow = engine.start()
    (claim,) = engine.claim()
    assert engine.release_locks(workflow) == {"id": str(workflow), "locks": [], "tasks": 0}
    engine.finish(claim.succeeded())
    assert engine.release_locks(workflow)["tasks"] == 0
    with pytest.raises(psycopg.Error, match="There is no workflow"):
        engine.release_locks(engine.value("select workflow.new_id()"))


def test_locks_in_use_are_listed_with_holders_and_the_line(engine: Engine) -> None:
    engine.define({"a": {"locks": ["ledger"], "limits": {"openai": (5, 2)}}})
    first, second = start_all(engine, 2)
    (claim,) = engine.claim()
    rows = {row["kind"]: row for row in engine.rows("select * from workflow.lock_list")}
    assert {kind: (r["used"], r["holding"], r["waiting"]) for kind, r in rows.items()} == {
        "lock": (1, 1, 1), "limit": (2, 1, 1)}  # fmt: skip
    assert [h["workflow_id"] for h in rows["lock"]["holders"]] == [str(first)]
    assert [(x["workflow_id"], x["step"]) for x in rows["lock"]["waiters"]] == [(str(second), "a")]
    engine.finish(claim.succeeded())


@pytest.mark.parametrize("seed", range(3))
def test_random_work_under_locks_and_limits_ends_and_never_exceeds_them(
    engine: Engine, other: Engine, seed: int
) -> None:
    """Two workers, random steps, random ends; after every move the units in use fit the strictest that is running."""
    chance = random.Random(seed)
    capacity = {"x": 1, "y": 2, "z": 4}
    for number in range(4):
        steps: dict[str, Any] = {}
        for name in "abcd":
            keys = chance.sample(sorted(capacity), chance.randint(0, 2))
            steps[name] = {
                "after": chance.sample(sorted(steps), chance.randint(0, min(2, len(steps)))),
                "locks": chance.sample(["l", "m"], chance.randint(0, 2)),
                "workflow_locks": ["whole"] if chance.randint(0, 3) == 0 else [],
                "limits": {key: (capacity[key], chance.randint(1, capacity[key])) for key in keys},
                "priority": chance.randint(0, 2),
            }
        engine.define(steps, name=f"flow{number}", fail_fast=chance.choice([True, False]))
    workflows = [engine.start(f"flow{chance.randrange(4)}") for _ in range(12)]
    held: list[tuple[Engine, Claim]] = []
    for move in range(3000):
        worker = chance.choice([engine, other])
        mine = [claim for of, claim in held if of is worker and chance.randint(0, 1)]
        held = [(of, claim) for of, claim in held if claim not in mine]
        ends = [chance.choice([c.succeeded(), c.succeeded(), c.succeeded(), c.retried(), c.released(), c.failed()])
                for c in mine]  # fmt: skip
        held += [(worker, claim) for claim in worker.claims_of(worker.turn(ends, want=chance.randint(1, 6)))]
        if move < 100 and chance.randint(0, 9) == 0:
            workflow = chance.choice(workflows)
            if engine.workflow(workflow)["finished_at"] is None:
                call = chance.choice(
                    [engine.pause_workflow, engine.resume_workflow, engine.cancel, engine.release_locks]
                )
                call(workflow)
        if move == 100:
            for workflow in workflows:
                if engine.workflow(workflow)["finished_at"] is None:
                    engine.resume_workflow(workflow)
        if chance.randint(0, 4) == 0:
            engine.wake_due()
        used = {r["key"]: r["units"] for r in engine.rows(
            "select key, sum(units) as units from workflow.holds where kind = 'limit' group by 1")}  # fmt: skip
        assert all(units <= capacity[key] for key, units in used.items()), used
        assert_sound(engine)
        if all(engine.workflow(w)["finished_at"] for w in workflows):
            break
    assert {engine.status(w) for w in workflows} <= {"succeeded", "failed", "cancelled"}
    assert engine.rows("select * from workflow.holds") == engine.rows("select * from workflow.waits") == []


def test_a_turn_costs_the_same_however_many_of_its_workflow_wait(engine: Engine) -> None:
    """Of a wide map under a limit nearly all wait: a turn must not go through them again and again."""
    visited = (
        "select coalesce(sum(idx_tup_fetch + coalesce(seq_tup_read, 0)), 0)"
        " from pg_stat_xact_all_tables where relname = any('{waits,tasks,jobs}')"
    )
    costs = {}
    for width in (100, 1000):
        engine.forget_work()
        engine.define({f"s{n}": {"limits": {"model": (4, 1)}} for n in range(width)}, name=f"map-{width}")
        engine.start(f"map-{width}")
        claims = engine.claim(50)
        while len(engine.line("model")) < width - 4:
            engine.claim(50)
        with engine.transaction():
            before = engine.value(visited)
            engine.turn([c.succeeded() for c in claims], want=4)
            costs[width] = engine.value(visited) - before
    assert costs[1000] <= 2 * costs[100], costs


def test_a_turn_looks_at_no_other_task_of_its_workflow_however_many_hold_something(engine: Engine) -> None:
    visited = "select idx_tup_fetch + coalesce(seq_tup_read, 0) from pg_stat_xact_all_tables where relname = 'tasks'"
    engine.define({f"s{n}": {"limits": {"model": (1000, 1)}} for n in range(500)})
    engine.start()
    claims = engine.claim(500)
    with engine.transaction():
        before = engine.value(visited)
        engine.finish(claims[0].succeeded())
        assert engine.value(visited) - before < 20
