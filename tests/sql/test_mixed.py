"""Everything at once, in any order: workers, operators and the leader on several connections, one or two of them at a
time, and after each step all that must hold does. In the end everything ends.

`WORKFLOW_TEST_MIXED_SECONDS` plays for longer; `WORKFLOW_TEST_MIXED_SEED` plays one game again.
"""

import os
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest
from support.invariants import assert_sound

from workflow_engine.store.cycles import find_cycles

from .engine import Claim, Completion, Engine

SECONDS = float(os.environ.get("WORKFLOW_TEST_MIXED_SECONDS", "20"))
SEED = os.environ.get("WORKFLOW_TEST_MIXED_SEED")
STEPS = 120  # of a game
REFUSALS = {"WF404", "WF409", "WF503"}
ALIVE = 10**6
CAPACITY = {"some": 3, "few": 2}


def define(engine: Engine) -> None:
    """Two definitions of two versions each, which want each other's locks in any order; what they did is undone."""
    some, few = {"some": (CAPACITY["some"], 2)}, {"few": (CAPACITY["few"], 1)}
    for name, one, two in (("flow", "x", "y"), ("other", "y", "x")):
        engine.define(
            {
                "top": {"limits": few},
                "own": {"after": ["top"], "workflow_locks": [one], "compensation": 6},
                "left": {"after": ["own"], "workflow_locks": [two], "tolerated": True},
                "right": {"after": ["own"], "locks": [one, "z"], "limits": some},
                "third": {"after": ["top"], "locks": ["z"], "limits": {**few, "some": (CAPACITY["some"], 1)}},
                "end": {"after": ["left", "right"], "ordering": ["third"]},
                "own.compensate": {"kind": "compensation", "limits": few, "timeouts": {"schedule_to_start": 30}},
                "on_failure": {"kind": "on_failure"},
                "on_exit": {"kind": "on_exit", "locks": ["z"]},
            },
            plan={"timeout": 120},
            name=name,
            fail_fast=name == "flow",
        )
        engine.define(
            {
                "new": {"locks": ["z"], "priority": 1},
                "top": {"limits": few},
                "own": {"after": ["top", "new"], "workflow_locks": [two]},
                "end": {"after": ["own"], "limits": some, "timeouts": {"schedule_to_close": 60}},
                "output": {"kind": "output"},
            },
            name=name,
            fail_fast=name == "other",
        )


class Game:
    """Who plays, what they know and what has happened, for whoever wants to know how it came to a fault."""

    def __init__(self, engines: Sequence[Engine], seed: int) -> None:
        self.chance = random.Random(seed)
        self.engines = engines
        self.claims: list[Claim] = []
        self.delivered: list[Completion] = []
        self.minutes = 0.0
        self.history = [f"seed {seed}"]
        pick = self.chance.choice
        self.moves: dict[str, tuple[int, Callable[[Engine], object]]] = {
            "turn": (12, self.turn),
            "start": (4, self.start),
            "heartbeat": (2, lambda e: e.heartbeat(self.claims)),
            "repeat": (1, self.repeat),
            "later": (2, self.later),
            "cancel": (2, lambda e: e.cancel(self.workflow(e))),
            "retry": (3, lambda e: e.retry(self.workflow(e), force=True)),
            "retry task": (4, lambda e: e.retry_task(self.task(e), pick((None, 60)), force=True)),
            "pause": (1, lambda e: e.pause(pick((None, "30 seconds")))),
            "resume": (2, lambda e: e.resume()),
            "pause workflow": (2, lambda e: e.pause_workflow(self.workflow(e))),
            "resume workflow": (3, lambda e: e.resume_workflow(self.workflow(e))),
            "release locks": (3, lambda e: e.release_locks(self.workflow(e))),
            "pin": (3, lambda e: e.pin(self.workflow(e), pick((1, 2)))),
            "unpin": (1, lambda e: e.unpin(self.workflow(e))),
            "break deadlocks": (2, break_deadlocks),
            "recover": (2, lambda e: e.recover_orphaned(action=pick(("recover", "recover", "cancel")))),
            "expired leases": (2, lambda e: e.sweep_expired_leases(max_crashes=pick((2, ALIVE)))),
            "timed out": (1, lambda e: e.value("select workflow.sweep_timed_out(%s)", pick((1, 100)))),
            "deadlines": (1, lambda e: e.value("select workflow.sweep_deadlines(%s)", pick((1, 100)))),
            "held": (1, lambda e: e.sweep_held(limit=pick((2, 1000)))),
            "waiters": (1, lambda e: e.sweep_waiters()),
            "leaked jobs": (1, lambda e: e.sweep_leaked_jobs()),
            "wake due": (1, lambda e: e.wake_due()),
            "lose a job": (1, self.lose_a_job),
        }

    # What is picked is said, so that a game can be followed.

    def workflow(self, engine: Engine) -> UUID:
        found = engine.rows("select id from workflow.workflows order by id desc limit 8")
        workflow: UUID = self.chance.choice(found)["id"] if found else UUID(int=0)
        self.history.append(f"   workflow {workflow}")
        return workflow

    def task(self, engine: Engine) -> int:
        found = engine.rows(
            "select id from workflow.tasks order by status in ('failed', 'cancelled') desc, id desc limit 30"
        )
        task: int = self.chance.choice(found)["id"] if found else 0
        self.history.append(f"   task {task}")
        return task

    # Moves of more than one call.

    def start(self, engine: Engine) -> None:
        if len(engine.rows("select 1 from workflow.workflows where finished_at is null")) < 8:
            engine.start(self.chance.choice(("flow", "other")), version=self.chance.choice((1, 2)))

    def turn(self, engine: Engine) -> None:
        ends = *[Claim.succeeded] * 3, Claim.failed, Claim.retried, Claim.released, Claim.skipped
        ending = self.chance.sample(self.claims, self.chance.randint(0, len(self.claims)))
        self.claims = [c for c in self.claims if c not in ending]
        batch = [self.chance.choice(ends)(c) for c in ending]
        for completion in batch:
            if self.chance.random() < 0.3:
                completion["logs"] = [{"message": "said"}]
            if completion["outcome"] == "retried":
                completion["delay"] = self.chance.choice((0, 20))
        self.history.append(f"   ends {[(c['task_id'], c['attempt'], c['outcome']) for c in batch]}")
        want = self.chance.choice((0, 1, 3, 10))
        self.claims = [*self.claims, *engine.claims_of(engine.turn(batch, want=want))]
        self.delivered = [*self.delivered, *batch][-20:]

    def repeat(self, engine: Engine) -> None:
        """Deliver again what was delivered before: whatever became of it, nothing changes."""
        engine.finish(*self.chance.sample(self.delivered, self.chance.randint(0, len(self.delivered))))

    def later(self, engine: Engine) -> None:
        self.minutes += self.chance.choice((0.1, 0.6))
        engine.set_clock(f"{self.minutes} minutes")

    def lose_a_job(self, engine: Engine) -> None:
        """As a hand in the job table does; mended at once, as all must be sound after each move."""
        with engine.transaction():
            engine.run(
                "delete from procrastinate_jobs where id = (select id from procrastinate_jobs where status = 'todo'"
                " order by id limit 1 for update skip locked)"
            )
            engine.sweep_lost_jobs(max_crashes=ALIVE)

    def make(self, move: Callable[[Engine], object], engine: Engine) -> None:
        try:
            with engine.transaction():
                move(engine)
        except psycopg.Error as error:
            if error.sqlstate not in REFUSALS:
                raise
            self.history.append(f"   refused: {error.diag.message_primary}")

    def step(self, threads: ThreadPoolExecutor) -> None:
        """One move, or two that meet while the first is not committed."""
        first, second = self.chance.choices(list(self.moves), [weight for weight, _ in self.moves.values()], k=2)
        one, two = self.chance.sample(self.engines, 2)
        meet = self.chance.random() < 0.5 and "lose a job" not in (first, second)  # it mends what nobody else is at
        self.history.append(f"{first} on {one.pid}" + (f", and {second} on {two.pid}" if meet else ""))
        for each in (one, two):
            each.set_clock(f"{self.minutes} minutes")
        if not meet:
            self.make(self.moves[first][1], one)
            return
        with one.transaction():
            self.make(self.moves[first][1], one)
            meeting = threads.submit(self.make, self.moves[second][1], two)
            deadline = time.monotonic() + 10
            while not meeting.done() and not one.value("select cardinality(pg_blocking_pids(%s)) > 0", two.pid):
                assert time.monotonic() < deadline
        meeting.result(timeout=20)

    def end(self) -> None:
        """Nothing is held back by hand any more: everything ends."""
        leader, worker = self.engines[0], self.engines[1]
        self.minutes += 10
        for each in self.engines:
            each.set_clock(f"{self.minutes} minutes")
        leader.resume()
        for row in leader.rows("select id from workflow.workflows where finished_at is null and paused_at is not null"):
            leader.resume_workflow(row["id"])
        while leader.sweep_expired_leases(max_crashes=ALIVE) != (0, 0):
            pass
        for _ in range(100):
            leader.wake_due()
            leader.sweep_held()
            leader.sweep_waiters()
            claims = worker.claim()
            worker.finish(*(c.succeeded() for c in claims))
            if not claims and not break_deadlocks(leader):
                break
        assert leader.rows("select id, status from workflow.workflows where finished_at is null") == []
        for table in ("procrastinate_jobs", "workflow.holds", "workflow.waits"):
            assert leader.rows(f"select * from {table}") == []


def break_deadlocks(engine: Engine) -> bool:
    waits = engine.value("select workflow.lock_waits()")
    graph: dict[UUID, set[UUID]] = {}
    for wait in waits:
        graph.setdefault(UUID(wait["waiter"]), set()).add(UUID(wait["holder"]))
    broken = False
    for cycle in find_cycles(graph):
        edges = set(zip(cycle, (*cycle[1:], cycle[0]), strict=True))
        inside = [w for w in waits if (UUID(w["waiter"]), UUID(w["holder"])) in edges]
        broken |= engine.break_deadlock(inside[-1]["task_id"], cycle)
    return broken


def assert_within_capacity(engine: Engine) -> None:
    used = {row["key"]: row["units"] for row in engine.rows(
        "select key, sum(units) as units from workflow.holds where kind = 'limit' group by 1")}  # fmt: skip
    assert all(used[key] <= CAPACITY[key] for key in used), used


@pytest.mark.timeout(SECONDS + 160)
def test_whatever_workers_operators_and_the_leader_do_in_any_order_all_that_must_hold_does_and_everything_ends(
    engine: Engine, connect: Callable[[], Engine]
) -> None:
    engines = [engine, *(connect() for _ in range(3))]
    define(engine)
    seeds: Any = iter([int(SEED)]) if SEED else iter(lambda: random.randrange(10**6), None)
    deadline, games = time.monotonic() + SECONDS, 0
    with ThreadPoolExecutor(1) as threads:
        for seed in seeds:
            engine.forget_work()
            game = Game(engines, seed)
            try:
                for _ in range(STEPS):
                    game.step(threads)
                    assert_sound(engine)
                    assert_within_capacity(engine)
                game.end()
                assert_sound(engine)
            except BaseException as error:
                error.add_note("\n".join(game.history[:1] + game.history[-60:]))
                raise
            games += 1
            if time.monotonic() > deadline:
                break
    print(f"{games} games of {STEPS} steps")
