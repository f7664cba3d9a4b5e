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
from psycopg.types.json import Jsonb
from support.invariants import assert_sound

from workflow_engine.store.cycles import find_cycles

from . import wild
from .engine import Claim, Completion, Engine

SECONDS = float(os.environ.get("WORKFLOW_TEST_MIXED_SECONDS", "16"))
SEED = os.environ.get("WORKFLOW_TEST_MIXED_SEED")
STEPS = 120  # of a game
REFUSALS = {"WF404", "WF409", "WF422", "WF503"}
AGAIN = {"40001", "55P03"}  # nothing happened: send it again
ALIVE = 10**6
PLAIN = "flow", "other"
CAPACITY = {"some": 3, "few": 2, **wild.CAPACITY}


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
        self.fresh: list[Claim] = []  # of a turn that may not be committed: nobody knows of them before
        self.delivered: list[Completion] = []
        self.minutes = 0.0
        self.history = [f"seed {seed}"]
        self.names = self.chance.choice((PLAIN, wild.NAMES, (*PLAIN, *wild.NAMES)))
        pick = self.chance.choice
        self.moves: dict[str, tuple[int, Callable[[Engine], object]]] = {
            "turn": (20, self.turn),
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
            "signal": (3, lambda e: e.signal(self.workflow(e), "go", pick((1, 2)))),
            "answer": (2, self.answer),
            "deliver": (1, lambda e: e.deliver_signals()),
            "skip task": (2, lambda e: e.value("select workflow.skip_task(%s)", self.task(e))),
            "rerun": (1, lambda e: e.value("select workflow.rerun(%s, 'top')", self.workflow(e))),
            "budget": (2, lambda e: raise_budget(e, self.workflow(e))),
            "children": (2, lambda e: e.value("select workflow.sweep_children()")),
            "places": (1, lambda e: e.sweep_places()),
            "budgets": (1, lambda e: e.value("select workflow.sweep_budgets()")),
            "rates": (1, lambda e: e.wake_rated()),
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
            name = self.chance.choice(self.names)
            engine.start(name, {"k": self.chance.choice((1, 2))}, version=self.chance.choice((1, 2)))

    def answer(self, engine: Engine) -> None:
        for row in engine.rows("select id from workflow.approvals where status = 'open' order by id limit 1"):
            engine.answer(row["id"], self.chance.choice(("approved", "rejected")))

    def end_of(self, claim: Claim) -> Completion:
        if claim.raw["workflow_name"] in wild.NAMES:
            return wild.end_of(claim, self.chance)
        ends = *[Claim.succeeded] * 3, Claim.failed, Claim.retried, Claim.released, Claim.skipped
        return self.chance.choice(ends)(claim)

    def turn(self, engine: Engine) -> None:
        ending = self.chance.sample(self.claims, self.chance.randint(0, len(self.claims)))
        self.claims = [c for c in self.claims if c not in ending]
        batch = [self.end_of(c) for c in ending]
        for completion in batch:
            if self.chance.random() < 0.3:
                completion["logs"] = [{"message": "said"}]
            if completion["outcome"] == "retried":
                completion["delay"] = self.chance.choice((0, 20))
        self.history.append(f"   ends {[(c['task_id'], c['attempt'], c['outcome']) for c in batch]}")
        want = self.chance.choice((0, 1, 3, 10))
        self.fresh += engine.claims_of(engine.turn(batch, want=want))
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
            self.know()
            return
        with one.transaction():
            self.make(self.moves[first][1], one)
            meeting = threads.submit(self.make, self.moves[second][1], two)
            deadline = time.monotonic() + 10
            while not meeting.done() and not one.value("select cardinality(pg_blocking_pids(%s)) > 0", two.pid):
                assert time.monotonic() < deadline
        meeting.result(timeout=20)
        self.know()

    def know(self) -> None:
        self.claims, self.fresh = [*self.claims, *self.fresh], []

    def rush(self, moves: int) -> None:
        """Moves beside those of others, all at the same time of the clock."""
        names = [name for name in self.moves if name not in ("lose a job", "later")]
        for name in self.chance.choices(names, [self.moves[name][0] for name in names], k=moves):
            self.history.append(name)
            try:
                self.make(self.moves[name][1], self.engines[0])
                self.know()
            except psycopg.Error as error:
                if error.sqlstate not in AGAIN:
                    error.add_note("\n".join(self.history[:1] + self.history[-4:]))
                    raise

    def end(self) -> None:
        """Nothing is held back by hand any more: everything ends."""
        leader, worker = self.engines[0], self.engines[1]
        leader.resume()
        for _ in range(100):
            self.minutes += 1
            for each in self.engines:
                each.set_clock(f"{self.minutes} minutes")
            live = leader.rows("select id, paused_at, budgets from workflow.workflows where finished_at is null")
            for row in live:
                for budget in row["budgets"] or ():
                    raise_budget(leader, budget)
                if row["paused_at"] is not None:
                    self.make(lambda e, w=row["id"]: e.resume_workflow(w), leader)  # type: ignore[misc]
            while leader.sweep_expired_leases(max_crashes=ALIVE) != (0, 0):
                pass
            self.make(self.answer, leader)
            for row in leader.rows("select distinct workflow_id from workflow.signal_waits"):
                leader.signal(row["workflow_id"], "go")
            for duty, sweeps in DUTIES.items():
                if duty in leader.concerns():  # as the leader: what is not named must not be needed
                    for sweep in sweeps:
                        leader.value(f"select workflow.{sweep}()")
            claims = worker.claim()
            worker.finish(*(wild.best_end_of(c) for c in claims))
            if not claims and not break_deadlocks(leader) and not live:
                break
        assert leader.rows("select id, status from workflow.workflows where finished_at is null") == []
        for table in (
            "procrastinate_jobs", "workflow.holds", "workflow.waits", "workflow.places", "workflow.signal_waits",
            "workflow.endings", "workflow.compensations", "workflow.children_to_cancel", "workflow.parents_to_wake",
        ):  # fmt: skip
            assert leader.rows(f"select * from {table}") == [], table


DUTIES = {
    "time limits": ("sweep_deadlines", "sweep_timed_out"),
    "child workflows": ("sweep_children",),
    "budgets": ("sweep_budgets",),
    "emitted signals": ("deliver_signals",),
    "due tasks": ("wake_due",),
    "held tasks": ("sweep_held", "sweep_waiters", "wake_rated", "sweep_places"),
}


def raise_budget(engine: Engine, workflow: UUID) -> None:
    bounds = Jsonb({"steps": {"hard": 1000}})
    engine.value(
        "select workflow.set_budget(%s, %s) from workflow.budgets where workflow_id = %s", workflow, bounds, workflow
    )


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
    assert all(used[key] <= CAPACITY.get(key, ALIVE) for key in used), used


@pytest.mark.timeout(SECONDS + 160)
def test_whatever_workers_operators_and_the_leader_do_in_any_order_all_that_must_hold_does_and_everything_ends(
    engine: Engine, connect: Callable[[], Engine]
) -> None:
    engines = [engine, *(connect() for _ in range(3))]
    define(engine)
    wild.define_all(engine)
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


@pytest.mark.timeout(SECONDS + 160)
def test_a_crowd_of_workers_operators_and_leaders_gets_into_no_deadlock_and_leaves_everything_sound(
    engine: Engine, connect: Callable[[], Engine]
) -> None:
    engines = [engine, *(connect() for _ in range(3))]
    define(engine)
    wild.define_all(engine)
    seed = int(SEED or random.randrange(10**6))
    games = [Game([each], seed + number) for number, each in enumerate(engines)]
    deadline = time.monotonic() + SECONDS / 5
    rounds = 0
    with ThreadPoolExecutor(len(games)) as threads:
        while time.monotonic() < deadline:
            for each in engines:
                each.set_clock(f"{rounds * 20} seconds")
            for rush in [threads.submit(game.rush, 25) for game in games]:
                rush.result(timeout=120)
            assert_sound(engine)
            rounds += 1
    print(f"{rounds} rounds of 25 moves by {len(games)}")
