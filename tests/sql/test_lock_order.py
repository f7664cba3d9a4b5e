"""No deadlock: every pair of calls that meet on the same rows waits in one order, workflow -> task -> job -> worker.

Each pair is tried with one call's transaction held open while the other runs, and then the other way round; at the end
they all meet in a crowd.
"""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest

from .engine import Claim, Engine

EXPIRED = "31 seconds"


@dataclass
class Scene:
    """Two workflows: one running, one pending and one scheduled task each, and one that has a lock or waits for it."""

    running: list[Claim]
    workflows: list[UUID]


def set_scene(engine: Engine) -> Scene:
    engine.define({
        "run": {"limits": {"some": (2, 1)}}, "wait": [], "later": [], "locked": {"locks": ["x"]},
        "behind": ["run", "wait", "later"],
    })  # fmt: skip
    workflows = [engine.start(), engine.start()]
    claims = engine.claim()
    engine.finish(
        *(c.released() for c in claims if c.step == "wait"), *(c.retried() for c in claims if c.step == "later")
    )
    return Scene(sorted((c for c in claims if c.step == "run"), key=lambda c: c.task_id), workflows)


CALLS: dict[str, Callable[[Engine, Scene], object]] = {
    "turn": lambda e, s: e.turn([c.succeeded() for c in s.running], want=1),
    "turn the other way round": lambda e, s: e.turn([c.succeeded() for c in reversed(s.running)], want=1),
    "claim": lambda e, s: e.turn(want=1),
    "cancel": lambda e, s: e.cancel(s.workflows[0]),
    "sweep": lambda e, s: e.sweep_expired_leases(),
    "heartbeat": lambda e, s: e.heartbeat(s.running),
    "wake": lambda e, s: e.wake_due(),
    "leaked": lambda e, s: e.sweep_leaked_jobs(),
    "lost jobs": lambda e, s: e.sweep_lost_jobs(),
    "complete_task": lambda e, s: quietly(lambda: e.complete_task(s.running[0]), e, "WF410"),
    "forgotten": lambda e, s: e.release_forgotten(),
    "pause": lambda e, s: e.pause(),
    "resume": lambda e, s: e.resume(),
    "pause workflow": lambda e, s: quietly(lambda: e.pause_workflow(s.workflows[0]), e, "WF409"),
    "resume workflow": lambda e, s: quietly(lambda: e.resume_workflow(s.workflows[0]), e, "WF409"),
    "held": lambda e, s: e.sweep_held(),
    "waiters": lambda e, s: e.sweep_waiters(),
    "release locks": lambda e, s: e.release_locks(s.workflows[0]),
}


def quietly(call: Callable[[], object], engine: Engine, sqlstate: str) -> None:
    """Make a call that the one before may have made impossible."""
    with engine.transaction():
        try:
            with engine.transaction():
                call()
        except psycopg.Error as error:
            if error.sqlstate != sqlstate:
                raise


@pytest.mark.parametrize("second", list(CALLS))
@pytest.mark.parametrize("first", ["turn", "claim", "cancel", "sweep", "heartbeat", "wake", "pause", "resume workflow"])
def test_second_call_waits_for_the_first_or_passes_but_never_deadlocks(
    engine: Engine, other: Engine, first: str, second: str
) -> None:
    scene = set_scene(engine)
    for connection in (engine, other):
        connection.set_clock(EXPIRED)
    with ThreadPoolExecutor(1) as thread:
        with engine.transaction():
            CALLS[first](engine, scene)
            waiting = thread.submit(CALLS[second], other, scene)
            until_done_or_blocked(engine, waiting, other)
            # The first call's transaction goes on to take more locks while the second waits for it.
            for more in ("heartbeat", "claim"):
                CALLS[more](engine, scene)
        waiting.result(timeout=10)


def until_done_or_blocked(watcher: Engine, call: Future[Any], waiter: Engine) -> None:
    deadline = time.monotonic() + 10
    while not call.done() and not watcher.value("select cardinality(pg_blocking_pids(%s)) > 0", waiter.pid):
        assert time.monotonic() < deadline


def test_completions_of_the_same_workflows_in_opposite_order_do_not_deadlock(
    engine: Engine, connect: Callable[[], Engine], blocked: Callable[..., Future[list[int]]]
) -> None:
    engine.define({"a": [], "b": []})
    workflows = sorted([engine.start(), engine.start()])
    claims = {(c.workflow, c.step): c for c in engine.claim()}
    one, two = connect(), connect()
    batches = [
        [claims[workflows[0], "a"].succeeded(), claims[workflows[1], "a"].succeeded()],
        [claims[workflows[1], "b"].succeeded(), claims[workflows[0], "b"].succeeded()],
    ]
    with engine.transaction():
        engine.rows("select 1 from workflow.workflows where id = %s for update", workflows[0])
        lined_up = [blocked(worker, lambda w=worker, b=batch: w.finish(*b))
                    for worker, batch in zip((one, two), batches, strict=True)]  # fmt: skip
    assert [future.result() for future in lined_up] == [[], []]
    assert [engine.status(w) for w in workflows] == ["succeeded", "succeeded"]


def test_the_sweep_of_lost_jobs_locks_what_all_of_them_held_in_order(
    engine: Engine, other: Engine, blocked: Callable[..., Future[dict[str, Any]]]
) -> None:
    for name, key in (("one", "z"), ("two", "a")):
        engine.define({"run": {"locks": [key]}}, name=name)
        engine.start(name)
    engine.claim()
    engine.run("delete from procrastinate_jobs")
    engine.set_clock(EXPIRED)
    with other.transaction():
        other.rows("select 1 from workflow.resources where key = 'a' for update")
        swept = blocked(engine, engine.sweep_lost_jobs)
        other.rows("select 1 from workflow.resources where key = 'z' for update")
    assert swept.result()["mended"] == 2


@pytest.mark.parametrize("winner", ["cancel", "claim"])
def test_claim_and_cancel_at_once_leave_nothing_running_in_a_cancelled_workflow(
    engine: Engine, other: Engine, blocked: Callable[..., Future[str]], winner: str
) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    if winner == "cancel":
        with other.transaction():
            other.cancel(workflow)
            assert engine.claim() == []
    else:
        with engine.transaction():
            (claim,) = engine.claim()
            cancelled = blocked(other, lambda: other.cancel(workflow))
        assert cancelled.result() == "running"
        assert engine.heartbeat([claim]) == [claim.task_id]
        assert engine.outcomes(workflow, "a") == ["cancelled"]
    assert engine.tasks(workflow) == {"a": "cancelled"}
    assert engine.claim() == []


def test_cancel_and_a_completion_at_once_have_one_winner(
    engine: Engine, other: Engine, blocked: Callable[..., Future[str]]
) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    claim = engine.claim_one()
    with engine.transaction():
        engine.finish(claim.succeeded())
        cancelled = blocked(other, lambda: other.cancel(workflow))
    with pytest.raises(psycopg.Error) as error:
        cancelled.result()
    assert error.value.sqlstate == "WF409"
    assert engine.status(workflow) == "succeeded"


def test_crowd_of_workers_operators_and_leaders_neither_deadlocks_nor_loses_anything(
    engine: Engine, connect: Callable[[], Engine]
) -> None:
    engine.define({
        "top": {"workflow_locks": ["whole"]},
        "l": {"after": ["top"], "locks": ["x", "y"], "limits": {"some": (3, 2)}},
        "m": {"after": ["top"], "locks": ["y"]},
        "r": {"after": ["top"], "limits": {"some": (4, 1)}},
        "end": ["l", "m", "r"],
    }, fail_fast=False)  # fmt: skip
    engine.define({"new": [], "top": [], "l": ["top"], "m": ["top"], "end": ["l", "m", "new"]}, fail_fast=False)
    engine.define({"top": [], "l": ["top"], "m": {"after": ["top"], "locks": ["x"]}, "end": ["l", "m"]}, name="other")
    engine.define({"top": {"locks": ["x"]}, "l": ["top"], "end": ["l"]}, name="other")
    workflows = [engine.start(name, version=1) for _ in range(8) for name in ("flow", "other")]
    tasks = [row["id"] for row in engine.rows("select id from workflow.tasks")]
    stop = threading.Event()

    def work(worker: Engine, seed: int) -> None:
        chance = random.Random(seed)
        claims: list[Claim] = []
        while not stop.is_set():
            ends = [chance.choice((Claim.succeeded, Claim.succeeded, Claim.retried, Claim.released)) for _ in claims]
            batch = [end(claim) for end, claim in zip(ends, claims, strict=True)]
            chance.shuffle(batch)
            claims = worker.claims_of(worker.turn(batch, want=6))
            worker.heartbeat(claims)

    def lead(leader: Engine, seed: int) -> None:
        while not stop.is_set():
            leader.set_clock(EXPIRED)  # every lease has run out
            leader.sweep_expired_leases(max_crashes=10**6)
            leader.sweep_leaked_jobs()
            leader.sweep_lost_jobs(max_crashes=10**6)
            leader.recover_orphaned(max_crashes=10**6)
            leader.wake_due()
            leader.sweep_held()
            leader.sweep_waiters()

    def operate(operator: Engine, seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            workflow, task = chance.choice(workflows), chance.choice(tasks)
            for operate_on in (
                partial(operator.retry_task, task, 60),
                partial(operator.pin, workflow, chance.choice((1, 2))),
                partial(operator.pause_workflow, workflow),
                partial(operator.release_locks, workflow),
                partial(operator.resume_workflow, workflow),
                partial(operator.cancel, workflow),
                partial(operator.retry, workflow, force=True),
            ):
                try:
                    operate_on()
                except psycopg.Error as error:
                    if error.sqlstate not in {"WF409", "WF404"}:  # a task that was replaced is gone
                        raise

    roles = [work, work, work, lead, lead, operate, operate]
    engines = [connect() for _ in roles]
    with ThreadPoolExecutor(len(roles)) as threads:
        running = [threads.submit(role, e, n) for n, (role, e) in enumerate(zip(roles, engines, strict=True))]
        stop.wait(2)
        stop.set()
        for future in running:
            future.result(timeout=30)  # raises what a thread met: a deadlock, a check that failed

    engine.set_clock("1 hour")
    while engine.sweep_expired_leases(max_crashes=10**6) != (0, 0):
        pass
    for workflow in workflows:
        if engine.status(workflow) in {"failed", "cancelled"}:
            engine.retry(workflow, force=True)
        if engine.status(workflow) != "succeeded":
            engine.resume_workflow(workflow)
    engine.sweep_held()
    engine.sweep_waiters()
    while engine.wake_due() + len(claims := engine.claim()):
        engine.finish(*(c.succeeded() for c in claims))
    assert {engine.status(w) for w in workflows} == {"succeeded"}
