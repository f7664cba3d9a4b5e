"""Signals: kept until a wait takes them, taken once, whichever comes first."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from .engine import Claim, Engine


def waiting(engine: Engine, steps: int = 1, **awaits: Any) -> tuple[UUID, list[Claim]]:
    """A workflow whose steps wait for a signal, in the order of their names."""
    engine.define({f"s{n}": [] for n in range(steps)})
    workflow = engine.start()
    claims = sorted(engine.claim(), key=lambda c: c.step)
    for claim in claims:
        assert engine.finish(claim.waiting("signal", **{"name": "go", "count": 1, **awaits})) == []
    return workflow, claims


def events(claim: Claim) -> list[tuple[Any, bool]]:
    return [(event["payload"], event["taken"]) for event in claim.raw["resumed"]["events"]]


def seqs(claim: Claim) -> list[int]:
    return [event["seq"] for event in claim.raw["resumed"]["events"]]


def take(claim: Claim) -> dict[str, Any]:
    """The completion of a worker that took all it was shown."""
    return claim.succeeded([payload for payload, _ in events(claim)], effects={"taken": seqs(claim)})


def takers(engine: Engine, workflow: UUID) -> list[tuple[Any, int | None]]:
    rows = engine.rows(
        "select payload, taken_by from workflow.signal_list where workflow_id = %s order by seq", workflow
    )
    return [(row["payload"], row["taken_by"]) for row in rows]


def left_over(engine: Engine) -> int:
    return int(engine.value("select count(*) from workflow.signal_waits"))


def test_a_signal_wakes_the_task_that_waits_for_it(engine: Engine) -> None:
    workflow, (first,) = waiting(engine)
    assert engine.tasks(workflow) == {"s0": "waiting"}
    assert engine.claim() == []
    sent = engine.signal(workflow, "go", {"n": 1}, by="ann")
    assert not sent["repeated"]
    claim = engine.claim_one()
    assert (claim.task_id, claim.attempt) == (first.task_id, 2)
    assert events(claim) == [({"n": 1}, True)]
    assert claim.raw["resumed"]["events"][0]["by"] == "ann"
    assert not claim.raw["resumed"]["due"]
    assert engine.finish(take(claim)) == []
    assert engine.status(workflow) == "succeeded"
    assert takers(engine, workflow) == [({"n": 1}, first.task_id)]
    assert left_over(engine) == 0


def test_a_signal_that_came_before_the_wait_is_there_when_it_begins(engine: Engine) -> None:
    engine.define({"a": [], "b": ["a"]})
    workflow = engine.start()
    engine.signal(workflow, "go", 1)
    engine.finish(engine.claim_one().succeeded())
    engine.finish(engine.claim_one("b").waiting("signal", name="go", count=1))
    claim = engine.claim_one("b")
    assert events(claim) == [(1, True)]
    engine.finish(take(claim))
    assert engine.status(workflow) == "succeeded"


def test_a_signal_of_another_name_or_workflow_wakes_nobody(engine: Engine) -> None:
    workflow, _ = waiting(engine)
    other = engine.start()
    engine.signal(workflow, "stop")
    engine.signal(other, "go")
    assert engine.tasks(workflow) == {"s0": "waiting"}
    assert engine.claim_one().workflow == other


def test_signals_are_taken_in_the_order_they_came_each_by_one_wait(engine: Engine) -> None:
    workflow, tasks = waiting(engine, 3)
    for n in range(4):
        engine.signal(workflow, "go", n)
    claims = sorted(engine.claim(), key=lambda c: c.step)
    assert [events(c) for c in claims] == [[(0, True)], [(1, True)], [(2, True)]]
    engine.finish(*(take(c) for c in claims))
    assert takers(engine, workflow) == [(n, task.task_id) for n, task in enumerate(tasks)] + [(3, None)]


def test_a_wait_for_several_signals_collects_them(engine: Engine) -> None:
    workflow, _ = waiting(engine, count=3)
    for n in range(2):
        engine.signal(workflow, "go", n)
        assert engine.claim() == []
    engine.signal(workflow, "go", 2)
    claim = engine.claim_one()
    assert events(claim) == [(0, True), (1, True), (2, True)]
    engine.finish(take(claim))
    assert engine.status(workflow) == "succeeded"


def test_a_wait_with_a_condition_is_shown_what_is_free_and_goes_on_behind_it(engine: Engine) -> None:
    workflow, _ = waiting(engine, matches=True, count=2)
    engine.signal(workflow, "go", "no")
    engine.signal(workflow, "go", "yes")
    claim = engine.claim_one()
    assert events(claim) == [("no", False), ("yes", False)]
    _, yes = seqs(claim)
    again = {"name": "go", "count": 2, "matches": True, "after": yes}
    assert engine.finish(claim.waiting("signal", **again, effects={"taken": [yes]})) == []
    assert engine.tasks(workflow) == {"s0": "waiting"}
    engine.signal(workflow, "go", "yes too")
    claim = engine.claim_one()
    assert events(claim) == [("yes", True), ("yes too", False)]
    engine.finish(take(claim))
    assert takers(engine, workflow) == [("no", None), ("yes", claim.task_id), ("yes too", claim.task_id)]


def test_a_signal_that_comes_while_a_worker_looks_is_looked_at_next(engine: Engine) -> None:
    workflow, _ = waiting(engine, matches=True)
    engine.signal(workflow, "go", "no")
    claim = engine.claim_one()
    engine.signal(workflow, "go", "yes")
    engine.finish(claim.waiting("signal", name="go", matches=True, after=seqs(claim)[-1]))
    assert events(engine.claim_one()) == [("yes", False)]


def test_of_two_waits_that_want_the_same_signal_the_second_looks_again(engine: Engine) -> None:
    workflow, _ = waiting(engine, 2, matches=True)
    engine.signal(workflow, "go", 1)
    first, second = sorted(engine.claim(), key=lambda c: c.step)
    assert engine.finish(take(first)) == []
    assert engine.finish(take(second)) == [0], "its end rested on a signal that was gone"
    assert engine.tasks(workflow) == {"s0": "succeeded", "s1": "pending"}
    claim = engine.claim_one()
    assert events(claim) == []
    engine.finish(claim.waiting("signal", name="go", matches=True))
    engine.signal(workflow, "go", 2)
    engine.finish(take(engine.claim_one()))
    assert engine.status(workflow) == "succeeded"
    assert takers(engine, workflow) == [(1, first.task_id), (2, second.task_id)]


def test_two_that_want_the_same_signal_in_one_turn_do_not_both_get_it(engine: Engine) -> None:
    workflow, _ = waiting(engine, 2, matches=True)
    engine.signal(workflow, "go", 1)
    claims = sorted(engine.claim(), key=lambda c: c.step)
    assert engine.finish(*(take(c) for c in claims)) == [1]
    assert engine.tasks(workflow) == {"s0": "succeeded", "s1": "pending"}


def test_a_completion_delivered_twice_is_not_taken_for_another_wait(engine: Engine) -> None:
    workflow, _ = waiting(engine)
    engine.signal(workflow, "go", 1)
    claim = engine.claim_one()
    assert engine.finish(take(claim)) == []
    assert engine.finish(take(claim)) == []


def test_what_was_kept_for_a_lost_attempt_is_kept_for_the_next_one(engine: Engine) -> None:
    workflow, _ = waiting(engine)
    engine.signal(workflow, "go", 1)
    engine.claim_one()
    engine.set_clock("40 seconds")
    assert engine.sweep_expired_leases() == (1, 0)
    claim = engine.claim_one()
    assert events(claim) == [(1, True)]
    engine.finish(take(claim))
    assert engine.status(workflow) == "succeeded"


def test_what_a_wait_collected_in_vain_goes_to_the_next_in_line(engine: Engine) -> None:
    engine.define({"a": [], "b": []}, fail_fast=False)
    workflow = engine.start()
    a, b = sorted(engine.claim(), key=lambda c: c.step)
    engine.finish(a.waiting("signal", name="go", count=2, deadline=60))
    engine.finish(b.waiting("signal", name="go"))
    engine.signal(workflow, "go", 1)
    assert engine.claim() == []
    engine.set_clock("61 seconds")
    claim = engine.claim_one()
    assert (claim.step, claim.raw["resumed"]["due"], events(claim)) == ("a", True, [(1, True)])
    assert engine.finish(claim.failed(effects={"expired": True, "after": 0})) == []
    claim = engine.claim_one()
    assert (claim.step, events(claim)) == ("b", [(1, True)])
    engine.finish(take(claim))
    assert engine.tasks(workflow) == {"a": "failed", "b": "succeeded"}


@pytest.mark.parametrize("matches", [False, True])
def test_a_signal_at_the_last_moment_beats_the_deadline(engine: Engine, matches: bool) -> None:
    workflow, _ = waiting(engine, deadline=60, matches=matches)
    engine.set_clock("61 seconds")
    claim = engine.claim_one()
    assert (claim.raw["resumed"]["due"], events(claim)) == (True, [])
    engine.signal(workflow, "go", 1)
    assert engine.finish(claim.failed(effects={"expired": True, "after": 0})) == [0]
    claim = engine.claim_one()
    assert events(claim) == [(1, not matches)]
    assert engine.finish(take(claim)) == []
    assert engine.status(workflow) == "succeeded"


def test_a_signal_sent_again_with_its_key_is_the_same_signal(engine: Engine) -> None:
    workflow, _ = waiting(engine)
    sent = engine.signal(workflow, "go", 1, key="k")
    again = engine.signal(workflow, "go", 1, key="k")
    assert (again["seq"], again["at"], again["repeated"]) == (sent["seq"], sent["at"], True)
    with pytest.raises(psycopg.Error) as error:
        engine.signal(workflow, "go", 2, key="k")
    assert (error.value.sqlstate, error.value.diag.message_detail) == ("WF422", "idempotency-key-reused")
    engine.finish(take(engine.claim_one()))
    assert engine.signal(workflow, "go", 1, key="k")["repeated"], "also when the workflow has ended"
    assert len(takers(engine, workflow)) == 1


def test_a_workflow_that_has_ended_or_does_not_exist_takes_no_signal(engine: Engine) -> None:
    workflow, _ = waiting(engine)
    engine.cancel(workflow)
    assert left_over(engine) == 0
    for target, state, slug in ((workflow, "WF409", "invalid-transition"), (uuid4(), "WF404", "workflow-not-found")):
        with pytest.raises(psycopg.Error) as error:
            engine.signal(target, "go")
        assert (error.value.sqlstate, error.value.diag.message_detail) == (state, slug)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201])
def test_a_name_that_is_none_is_refused(engine: Engine, name: str) -> None:
    workflow, _ = waiting(engine)
    with pytest.raises(psycopg.Error) as error:
        engine.signal(workflow, name)
    assert error.value.sqlstate == "WF422"


def test_a_signal_rolls_back_with_the_transaction_that_sent_it(engine: Engine) -> None:
    workflow, _ = waiting(engine)
    with engine.transaction():
        engine.signal(workflow, "go", 1)
        raise psycopg.Rollback
    assert takers(engine, workflow) == []
    assert engine.tasks(workflow) == {"s0": "waiting"}


def test_a_paused_workflow_takes_signals_and_goes_on_when_resumed(engine: Engine) -> None:
    workflow, _ = waiting(engine)
    engine.pause_workflow(workflow)
    engine.signal(workflow, "go", 1)
    assert engine.claim() == []
    engine.resume_workflow(workflow)
    assert events(engine.claim_one()) == [(1, True)]


def test_a_retried_wait_begins_anew_and_lets_go_what_it_had(engine: Engine) -> None:
    workflow, _ = waiting(engine)
    engine.signal(workflow, "go", 1)
    engine.finish(engine.claim_one().retried())
    assert left_over(engine) == 0
    engine.wake_due()
    claim = engine.claim_one()
    assert "resumed" not in claim.raw
    engine.finish(claim.waiting("signal", name="go"))
    assert events(engine.claim_one()) == [(1, True)]


def test_a_workflow_that_is_run_again_waits_again_for_what_it_had_not_taken(engine: Engine) -> None:
    workflow, _ = waiting(engine, count=2)
    engine.signal(workflow, "go", 1)
    engine.cancel(workflow)
    engine.retry(workflow, force=True)
    claim = engine.claim_one()
    assert "resumed" not in claim.raw
    engine.finish(claim.waiting("signal", name="go", count=2))
    engine.signal(workflow, "go", 2)
    claim = engine.claim_one()
    assert events(claim) == [(1, True), (2, True)]
    engine.finish(take(claim))
    assert engine.status(workflow) == "succeeded"


@pytest.mark.parametrize("kind", ["signal", "timer"])
def test_a_deadline_whose_job_is_gone_gets_a_new_one(engine: Engine, kind: str) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    awaits: dict[str, Any] = {"delay": 60} if kind == "timer" else {"name": "go", "deadline": 60}
    engine.finish(engine.claim_one().waiting(kind, **awaits))
    engine.run("delete from procrastinate_jobs")
    assert engine.value("select reason from workflow.why where workflow_id = %s", workflow) == "lost_wakeup"
    assert engine.orphans() == {"a": "lost_wakeup"}
    assert engine.sweep_lost_jobs()["mended"] == 1
    assert engine.orphans() == {}
    assert engine.claim() == []
    engine.set_clock("61 seconds")
    assert engine.claim_one().raw["resumed"]["due"]


# Two connections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["signal", "wait"])
def test_a_signal_and_the_begin_of_its_wait_at_once_find_each_other(
    engine: Engine, other: Engine, blocked: Callable[..., Future[Any]], first: str
) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    claim = engine.claim_one()
    calls = {
        "signal": (other, lambda: other.signal(workflow, "go", 1)),
        "wait": (engine, lambda: engine.finish(claim.waiting("signal", name="go"))),
    }
    leader, lead = calls.pop(first)
    (follower, follow) = next(iter(calls.values()))
    with leader.transaction():
        lead()
        second = blocked(follower, follow)
    second.result()
    assert events(engine.claim_one()) == [(1, True)]


def test_a_signal_that_waits_for_a_cancel_is_refused(
    engine: Engine, other: Engine, blocked: Callable[..., Future[Any]]
) -> None:
    workflow, _ = waiting(engine)
    with other.transaction():
        other.cancel(workflow)
        sent = blocked(engine, lambda: engine.signal(workflow, "go"))
    with pytest.raises(psycopg.Error) as error:
        sent.result()
    assert error.value.sqlstate == "WF409"
    assert left_over(engine) == 0


def test_a_cancel_that_waits_for_a_signal_ends_what_it_woke(
    engine: Engine, other: Engine, blocked: Callable[..., Future[Any]]
) -> None:
    workflow, _ = waiting(engine)
    with engine.transaction():
        engine.signal(workflow, "go")
        cancelled = blocked(other, lambda: other.cancel(workflow))
    assert cancelled.result() == "running"
    assert engine.tasks(workflow) == {"s0": "cancelled"}
    assert engine.claim() == []


def test_two_signals_at_once_wake_a_wait_once_and_the_second_stays(
    engine: Engine, other: Engine, blocked: Callable[..., Future[Any]]
) -> None:
    workflow, _ = waiting(engine)
    with engine.transaction():
        engine.signal(workflow, "go", 1)
        second = blocked(other, lambda: other.signal(workflow, "go", 2))
    second.result()
    claim = engine.claim_one()
    assert events(claim) == [(1, True)]
    engine.finish(take(claim))
    assert takers(engine, workflow) == [(1, claim.task_id), (2, None)]


def test_the_same_signal_sent_twice_at_once_is_one(
    engine: Engine, other: Engine, blocked: Callable[..., Future[Any]]
) -> None:
    workflow, _ = waiting(engine)
    with engine.transaction():
        sent = engine.signal(workflow, "go", 1, key="k")
        again = blocked(other, lambda: other.signal(workflow, "go", 1, key="k"))
    assert (again.result()["seq"], again.result()["repeated"]) == (sent["seq"], True)


def test_two_workers_that_take_the_same_signal_at_once_have_one_winner(
    engine: Engine, other: Engine, blocked: Callable[..., Future[Any]]
) -> None:
    workflow, _ = waiting(engine, 2, matches=True)
    engine.signal(workflow, "go", 1)
    first, second = sorted(engine.claim(), key=lambda c: c.step)
    with engine.transaction():
        assert engine.finish(take(first)) == []
        late = blocked(other, lambda: other.finish(take(second)))
    assert late.result() == [0]
    assert engine.tasks(workflow) == {"s0": "succeeded", "s1": "pending"}


def fill(engine: Engine, workflow: UUID, free: int) -> None:
    """Signals that nobody waits for."""
    engine.run(
        "insert into workflow.signals (workflow_id, name, payload, at) select %s, 'other', 'null', workflow.clock()"
        " from generate_series(1, %s)",
        workflow,
        free,
    )


def test_a_workflow_keeps_so_many_signals_that_nobody_takes(engine: Engine) -> None:
    workflow, _ = waiting(engine)
    fill(engine, workflow, 9_999)
    sent = engine.signal(workflow, "other", key="k")
    with pytest.raises(psycopg.Error) as refused:
        engine.signal(workflow, "go", 1)
    assert (refused.value.sqlstate, refused.value.diag.message_detail) == ("WF409", "too-many-signals")
    assert engine.signal(workflow, "other", key="k") == {**sent, "repeated": True}
    assert engine.tasks(workflow) == {"s0": "waiting"}

    engine.run("update workflow.signals set taken_by = 1, taken_at = at where name = 'other' and key is null")
    assert not engine.signal(workflow, "go", 1)["repeated"]
    assert engine.finish(take(engine.claim_one())) == []
