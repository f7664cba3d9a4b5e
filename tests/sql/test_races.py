"""Two calls that meet: one is held behind one of its statements while the other goes as far as it can, or up to one of
its own.

Whichever of them wins, all that must hold does, neither is a victim of a deadlock, and everything goes on to its end.
Each run tries some of the places at which they can meet; `WORKFLOW_TEST_RACES=all` tries each place of the first with
the other whole, and `WORKFLOW_TEST_RACES_SEED` plays one run again.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from support.invariants import assert_sound

from . import wild
from .connections import Janitor
from .engine import Claim, Engine, resource
from .nested import child, define, step
from .stepping import Pair, refused, steps_of

ALL = os.environ.get("WORKFLOW_TEST_RACES") == "all"
SEED = os.environ.get("WORKFLOW_TEST_RACES_SEED")
MEETINGS = 3  # of each race, unless all
EXPIRED = "31 seconds"
ALIVE = 10**6

Call = Callable[[Engine], Any]


@dataclass
class Race:
    """What meets, and who checks what came of it once everything has ended."""

    first: Call
    second: Call
    check: Callable[[Engine], None]


def claims_of(engine: Engine) -> dict[str, Claim]:
    return {c.step: c for c in engine.claim()}


def runs(engine: Engine, name: str) -> list[int]:
    """How often each task of a step was run to its success."""
    return [row["times"] for row in engine.rows(
        "select (select count(*) from workflow.attempt_history h where h.task_id = l.id and h.outcome = 'succeeded')"
        " as times from workflow.task_list l where l.step = %s order by l.id", name)]  # fmt: skip


def ended(engine: Engine, *statuses: str) -> None:
    """All workflows have ended in one of these ways."""
    found = {row["status"] for row in engine.rows("select status from workflow.workflows")}
    assert found <= set(statuses), found


def join(engine: Engine) -> Race:
    engine.define({"a": [], "b": [], "end": ["a", "b"]})
    engine.start()
    claims = claims_of(engine)

    def check(e: Engine) -> None:
        ended(e, "succeeded")
        assert runs(e, "end") == [1]

    return Race(lambda e: e.finish(claims["a"].succeeded()), lambda e: e.finish(claims["b"].succeeded()), check)


def items(engine: Engine) -> Race:
    define(engine, {"each": step(), "end": step(["each"])}, {"each": ("item", {"x": step()})})
    engine.start()
    engine.finish(engine.claim_one().opens(1, 3, width=2))
    one, two = engine.claim()

    def check(e: Engine) -> None:
        ended(e, "succeeded")
        assert (runs(e, "x"), runs(e, "end")) == ([1, 1, 1], [1])

    return Race(lambda e: e.turn([one.succeeded()], want=1), lambda e: e.turn([two.succeeded()], want=1), check)


def cancel_and_finish(engine: Engine) -> Race:
    engine.define({"a": [], "end": ["a"]})
    workflow = engine.start()
    claim = engine.claim_one()
    stale: list[list[int]] = []

    def check(e: Engine) -> None:
        ended(e, "cancelled")
        assert runs(e, "end") == [0]
        assert e.tasks(workflow)["a"] == ("cancelled" if stale[-1] else "succeeded")

    return Race(lambda e: e.cancel(workflow), lambda e: stale.append(e.finish(claim.succeeded())), check)


def cancel_and_claim(engine: Engine) -> Race:
    engine.define({"a": [], "b": []})
    workflow = engine.start()
    engine.finish(engine.claim(1)[0].released())
    return Race(lambda e: e.cancel(workflow), lambda e: e.claim(), lambda e: ended(e, "cancelled"))


def pause_and_claim(engine: Engine) -> Race:
    engine.define({"a": []})
    workflows = [engine.start() for _ in range(2)]
    return Race(lambda e: e.pause_workflow(workflows[0]), lambda e: e.turn(want=2), lambda e: ended(e, "succeeded"))


def engine_pause_and_claim(engine: Engine) -> Race:
    engine.define({"a": []})
    engine.start_many([{"name": "flow"}] * 2)
    return Race(lambda e: e.pause(), lambda e: e.turn(want=2), lambda e: ended(e, "succeeded"))


def resume_and_claim(engine: Engine) -> Race:
    engine.define({"a": [], "b": []})
    workflow = engine.start()
    engine.pause_workflow(workflow)
    return Race(lambda e: e.resume_workflow(workflow), lambda e: e.claim(), lambda e: ended(e, "succeeded"))


def sweep_and_finish(engine: Engine) -> Race:
    engine.define({"a": [], "end": ["a"]})
    engine.start()
    claim = engine.claim_one()

    def sweep(e: Engine) -> None:
        e.set_clock(EXPIRED)
        e.sweep_expired_leases(max_crashes=2)

    def check(e: Engine) -> None:
        ended(e, "succeeded")
        assert (runs(e, "a"), runs(e, "end")) == ([1], [1])

    return Race(sweep, lambda e: e.finish(claim.succeeded()), check)


def sweep_and_heartbeat(engine: Engine) -> Race:
    engine.define({"a": {"locks": ["x"]}, "b": {"locks": ["x"]}})
    engine.start()
    claim = engine.claim(1)[0]

    def sweep(e: Engine) -> None:
        e.set_clock(EXPIRED)
        e.sweep_expired_leases(max_crashes=ALIVE)

    return Race(sweep, lambda e: e.heartbeat([claim]), lambda e: ended(e, "succeeded"))


def two_sweeps(engine: Engine) -> Race:
    engine.define({"a": [], "b": {"locks": ["x"]}})
    engine.start_many([{"name": "flow"}] * 2)
    engine.claim()

    def sweep(e: Engine) -> None:
        e.set_clock(EXPIRED)
        e.sweep_expired_leases(max_crashes=ALIVE)

    def check(e: Engine) -> None:
        ended(e, "succeeded")
        lost = e.rows("select count(*) as n from workflow.attempt_history where outcome = 'lost' group by task_id")
        assert {row["n"] for row in lost} == {1}

    return Race(sweep, sweep, check)


def two_claims(engine: Engine) -> Race:
    engine.define({"a": {"limits": {"some": (2, 1)}}})
    engine.start_many([{"name": "flow"}] * 4)
    return Race(lambda e: e.claim(3), lambda e: e.claim(3), lambda e: ended(e, "succeeded"))


def locks(engine: Engine) -> Race:
    engine.define({"a": {"locks": ["x"]}, "b": {"locks": ["x"]}, "c": {"locks": ["x"]}})
    engine.start()
    claim = engine.claim(1)[0]
    return Race(lambda e: e.finish(claim.succeeded()), lambda e: e.claim(), lambda e: ended(e, "succeeded"))


def opposite_locks(engine: Engine) -> Race:
    engine.define({"a": {"locks": ["x", "y"]}, "b": {"locks": ["y", "x"]}, "c": {"locks": ["y"]}})
    engine.start_many([{"name": "flow"}] * 2)
    claims = engine.claim()
    return Race(
        lambda e: e.turn([c.succeeded() for c in claims], want=1), lambda e: e.turn(want=3),
        lambda e: ended(e, "succeeded"),
    )  # fmt: skip


def signal_and_wait(engine: Engine) -> Race:
    engine.define({"a": []})
    workflow = engine.start()
    claim = engine.claim_one()
    return Race(
        lambda e: e.signal(workflow, "go", 1),
        lambda e: e.finish(claim.waiting("signal", name="go", count=1)),
        lambda e: ended(e, "succeeded"),  # nobody signals again
    )


def two_signals(engine: Engine) -> Race:
    engine.define({"a": [], "b": []})
    workflow = engine.start()
    engine.finish(*(c.waiting("signal", name="go", count=1) for c in engine.claim()))
    return Race(
        lambda e: e.signal(workflow, "go", 1), lambda e: e.signal(workflow, "go", 2), lambda e: ended(e, "succeeded")
    )


def answer_and_expiry(engine: Engine) -> Race:
    engine.define({"a": []})
    engine.start()
    engine.finish(engine.claim_one().waiting("approval", prompt="?", deadline=20))
    (approval,) = engine.rows("select id from workflow.approvals")

    def expire(e: Engine) -> None:
        e.set_clock(EXPIRED)
        e.turn(want=1)

    return Race(lambda e: e.answer(approval["id"], "approved"), expire, lambda e: ended(e, "succeeded"))


def child_and_parent(engine: Engine) -> Race:
    define(engine, {"kid": step(), "end": step(["kid"])})
    define(engine, {"a": step()}, name="child")
    engine.start()
    engine.finish(child(engine.claim_one("kid")))
    claim = engine.claim_one("a")
    parent = engine.rows("select id from workflow.workflows where name = 'flow'")[0]["id"]

    def check(e: Engine) -> None:
        names = {row["name"]: row["status"] for row in e.rows("select name, status from workflow.workflows")}
        assert names in ({"flow": "cancelled", "child": "cancelled"}, {"flow": "cancelled", "child": "succeeded"})

    return Race(lambda e: e.cancel(parent), lambda e: e.finish(claim.succeeded()), check)


def child_and_wait(engine: Engine) -> Race:
    """The child ends while somebody works on its parent."""
    define(engine, {"kid": step(), "other": step(), "end": step(["kid", "other"])})
    define(engine, {"a": step()}, name="child")
    engine.start()
    claims = claims_of(engine)
    engine.finish(child(claims["kid"]))
    claim = engine.claim_one("a")
    return Race(
        lambda e: e.finish(claims["other"].succeeded()), lambda e: e.finish(claim.succeeded()),
        lambda e: ended(e, "succeeded"),
    )  # fmt: skip


def retry_and_finish(engine: Engine) -> Race:
    engine.define({"a": [], "b": [], "end": ["a", "b"]}, fail_fast=False)
    workflow = engine.start()
    claims = claims_of(engine)
    engine.finish(claims["a"].failed())
    task = engine.task(workflow, "a")["id"]

    def check(e: Engine) -> None:
        ended(e, "succeeded", "failed")
        if e.status(workflow) == "failed":
            e.retry(workflow)
            end_all(e)
        assert (e.status(workflow), runs(e, "end")) == ("succeeded", [1])

    return Race(lambda e: e.retry_task(task), lambda e: e.finish(claims["b"].succeeded()), check)


def two_retries(engine: Engine) -> Race:
    engine.define({"a": [], "end": ["a"]})
    workflow = engine.start()
    engine.finish(engine.claim_one().failed())

    def check(e: Engine) -> None:
        ended(e, "succeeded")
        assert (runs(e, "a"), runs(e, "end")) == ([1], [1])

    return Race(lambda e: e.retry(workflow), lambda e: e.retry(workflow), check)


def places(engine: Engine) -> Race:
    """One leaves the only place while another comes."""
    one = {"key": [{"text": "k"}], "limit": 1, "on_conflict": "queue"}
    define(engine, {"a": step(resources=[resource("limit", "some", capacity=1)])}, plan={"concurrency": [one]})
    engine.start()
    claim = engine.claim_one()
    return Race(lambda e: e.finish(claim.succeeded()), lambda e: e.start(), lambda e: ended(e, "succeeded"))


def same_key(engine: Engine) -> Race:
    engine.define({"a": []})

    def check(e: Engine) -> None:
        ended(e, "succeeded")
        assert len(e.rows("select id from workflow.workflows")) == 1

    key = uuid4().hex
    same = lambda e: e.start_many([{"name": "flow"}], key=key)  # noqa: E731
    return Race(same, same, check)


def fail_fast_and_finish(engine: Engine) -> Race:
    define(engine, {"a": step(compensation="undo"), "b": step(), "c": step(), "undo": step(kind="compensation")})
    workflow = engine.start()
    claims = claims_of(engine)
    engine.finish(claims["a"].succeeded())

    def check(e: Engine) -> None:
        assert (e.status(workflow), runs(e, "undo")) == ("failed", [1])

    return Race(lambda e: e.finish(claims["b"].failed()), lambda e: e.turn([claims["c"].succeeded()], want=1), check)


RACES: dict[str, Callable[[Engine], Race]] = {
    "two parents of a join": join,
    "two items of a map": items,
    "cancel and finish": cancel_and_finish,
    "cancel and claim": cancel_and_claim,
    "pause of a workflow and claim": pause_and_claim,
    "pause of the engine and claim": engine_pause_and_claim,
    "resume and claim": resume_and_claim,
    "sweep and finish": sweep_and_finish,
    "sweep and heartbeat": sweep_and_heartbeat,
    "two sweeps": two_sweeps,
    "two claims at a limit": two_claims,
    "a lock that is freed and one that waits for it": locks,
    "locks in opposite order": opposite_locks,
    "signal and wait": signal_and_wait,
    "two signals": two_signals,
    "answer and expiry": answer_and_expiry,
    "end of a child and cancel of its parent": child_and_parent,
    "end of a child and a turn of its parent": child_and_wait,
    "retry of a task and finish": retry_and_finish,
    "two retries": two_retries,
    "the end of one in a place and a start": places,
    "two starts with one key": same_key,
    "fail fast and finish": fail_fast_and_finish,
}


@pytest.fixture
def database(stepped_database: str) -> Iterator[str]:
    with Janitor(stepped_database) as janitor:
        yield stepped_database
        janitor.empty()


def end_all(engine: Engine) -> None:
    """Play worker and leader until nothing moves any more."""
    engine.resume()
    for minutes in range(1, 30):
        engine.set_clock(f"{minutes} minutes")
        for row in engine.rows("select id from workflow.workflows where finished_at is null and paused_at is not null"):
            engine.resume_workflow(row["id"])
        engine.sweep_expired_leases(max_crashes=ALIVE)
        engine.value("select workflow.sweep_children()")
        engine.wake_due()
        engine.sweep_held()
        engine.sweep_waiters()
        engine.sweep_places()
        claims = engine.claim()
        engine.finish(*(wild.best_end_of(c) for c in claims))
        if not claims and not engine.rows("select 1 from workflow.workflows where finished_at is null"):
            return
    raise AssertionError(engine.rows("select step, status from workflow.task_list where finished_at is null"))


@pytest.mark.parametrize("name", RACES)
def test_two_calls_that_meet_anywhere_have_one_winner_and_all_goes_on(
    engine: Engine, connect: Callable[[], Engine], name: str
) -> None:
    one, two, watcher = connect(), connect(), connect()
    chance = random.Random(f"{SEED or random.randrange(10**6)} {name}")

    def meet(pair: Pair, first: int, second: int) -> tuple[int, int]:
        """Let them meet at these statements; returns how many each has."""
        for each in (engine, one, two):
            each.set_clock("0")
        engine.forget_work()
        race = RACES[name](engine)
        with ExitStack() as held:
            held.enter_context(pair.held(one, first))
            slow = pair.begin(one, lambda e: refused(lambda: race.first(e)))
            with pair.held(two, second):
                quick = pair.begin(two, lambda e: refused(lambda: race.second(e)))
                held.close()
                pair.pass_on(one, slow)
        slow.result(20), quick.result(20)
        counts = max(1, steps_of(one)), max(1, steps_of(two))  # one that was refused has counted none
        assert_sound(engine)
        end_all(engine)
        race.check(engine)
        assert_sound(engine)
        return counts

    with ThreadPoolExecutor(2) as threads:
        pair = Pair(watcher, threads)
        most = meet(pair, 0, 0)
        meetings = [(first, 0) for first in range(1, most[0] + 1)] if ALL else [
            (chance.randint(1, most[0]), chance.choice((0, chance.randint(1, most[1])))) for _ in range(MEETINGS)
        ]  # fmt: skip
        for first, second in meetings:
            try:
                meet(pair, first, second)
            except BaseException as error:
                error.add_note(f"at statement {first} of the first and {second or 'none'} of the second")
                raise
