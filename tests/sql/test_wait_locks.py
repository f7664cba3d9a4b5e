"""No deadlock between those who wake what waits and all others: as in test_lock_order.py, each pair both ways round.
And a crowd of them loses no signal and gives none twice."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest

from .engine import Claim, Engine
from .test_lock_order import quietly, until_done_or_blocked

DUE = "61 seconds"


class Scene:
    """Two workflows that wait for a signal (one step with a condition), an approval and a time; one that emitted."""

    def __init__(self, engine: Engine) -> None:
        engine.define({"run": [], "sig": [], "look": [], "ask": [], "late": []})
        engine.define({"e": []}, name="emitter")
        self.workflows = [engine.start(), engine.start()]
        engine.start("emitter")
        self.running: list[Claim] = []
        awaits: dict[str, dict[str, Any]] = {
            "sig": {"kind": "signal", "name": "go", "deadline": 60},
            "look": {"kind": "signal", "name": "go", "matches": True},
            "ask": {"kind": "approval", "deadline": 120},
            "late": {"kind": "timer", "delay": 60},
        }
        for claim in engine.claim():
            if claim.step == "run":
                self.running.append(claim)
            elif claim.step == "e":
                emit = {"name": "go", "to": "signal", "workflow_id": str(max(self.workflows))}
                engine.finish(claim.succeeded(effects={"emit": emit}))
            else:
                engine.finish(claim.waiting(**awaits[claim.step]))
        self.approval: UUID = engine.value(
            "select id from workflow.approvals where workflow_id = %s", min(self.workflows)
        )


CALLS: dict[str, Callable[[Engine, Scene], object]] = {
    "signal": lambda e, s: quietly(lambda: e.signal(s.workflows[0], "go"), e, "WF409"),
    "answer": lambda e, s: quietly(lambda: e.answer(s.approval, "approved"), e, "WF409"),
    "deliver": lambda e, s: e.deliver_signals(),
    "turn": lambda e, s: e.turn([c.waiting("signal", name="go") for c in s.running], want=1),
    "claim": lambda e, s: e.turn(want=1),
    "wake": lambda e, s: e.wake_due(),
    "cancel": lambda e, s: e.cancel(s.workflows[0]),
    "sweep": lambda e, s: e.sweep_expired_leases(),
    "pause workflow": lambda e, s: quietly(lambda: e.pause_workflow(s.workflows[0]), e, "WF409"),
    "heartbeat": lambda e, s: e.heartbeat(s.running),
}
NEW = ("signal", "answer", "deliver")
PAIRS = [(first, second) for first in CALLS for second in CALLS if first in NEW or second in NEW]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_second_call_waits_for_the_first_or_passes_but_never_deadlocks(
    engine: Engine, other: Engine, first: str, second: str
) -> None:
    scene = Scene(engine)
    for connection in (engine, other):
        connection.set_clock(DUE)
    with ThreadPoolExecutor(1) as thread:
        with engine.transaction():
            CALLS[first](engine, scene)
            waiting = thread.submit(CALLS[second], other, scene)
            until_done_or_blocked(engine, waiting, other)
            for more in ("heartbeat", "claim"):
                CALLS[more](engine, scene)
        waiting.result(timeout=10)


def test_a_crowd_that_sends_waits_and_gives_up_loses_no_signal_and_gives_none_twice(
    engine: Engine, connect: Callable[[], Engine]
) -> None:
    """Waits with and without a condition, deadlines, lost workers; every signal is taken once, or still there."""
    steps = 12
    engine.define({f"s{n}": [] for n in range(steps)}, fail_fast=False)
    workflow = engine.start()
    stop = threading.Event()
    sent: list[int] = []
    output: list[int] = []

    def awaits(claim: Claim) -> dict[str, Any]:
        number = int(claim.step[1:])
        return {"name": "go", "count": 1 + number % 3, "matches": number % 2 == 1}

    def look(worker: Engine, claim: Claim, chance: random.Random) -> dict[str, Any]:
        """What a worker does whose condition holds for each second signal."""
        resumed = claim.raw.get("resumed")
        if resumed is None:
            return claim.waiting("signal", **awaits(claim))
        events = resumed["events"]
        wanted = awaits(claim)
        meant = [e["seq"] for e in events if e["taken"] or e["payload"] % 2 == 0][: wanted["count"]]
        seen = max([resumed["awaits"].get("after", 0), *(e["seq"] for e in events if not e["taken"])])
        if len(meant) == wanted["count"]:
            return claim.succeeded(meant, effects={"taken": meant})
        if chance.random() < 0.3:
            return claim.retried()
        return claim.waiting("signal", **wanted, after=seen, effects={"taken": meant})

    def work(worker: Engine, seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            claims = worker.claim(4)
            worker.finish(*(look(worker, c, chance) for c in claims if chance.random() < 0.9))
            worker.release_forgotten()

    def send(sender: Engine, seed: int) -> None:
        while not stop.is_set() and len(sent) < 60:
            try:
                sent.append(sender.signal(workflow, "go", len(sent))["seq"])
            except psycopg.Error as error:
                if error.sqlstate != "WF409":
                    raise
                return

    roles = [work, work, work, send, send]
    engines = [connect() for _ in roles]
    with ThreadPoolExecutor(len(roles)) as threads:
        running = [threads.submit(role, e, n) for n, (role, e) in enumerate(zip(roles, engines, strict=True))]
        stop.wait(3)
        stop.set()
        for future in running:
            future.result(timeout=30)

    chance = random.Random(0)
    for number in range(400):
        if engine.status(workflow) == "succeeded":
            break
        if not (claims := engine.claim()) and not engine.wake_due():
            sent.append(engine.signal(workflow, "go", number)["seq"])
        engine.finish(*(look(engine, c, chance) for c in claims))
    assert engine.status(workflow) == "succeeded"
    output = [seq for row in engine.rows("select output from workflow.tasks") for seq in row["output"]]
    assert len(output) == len(set(output)) == sum(1 + n % 3 for n in range(steps)), "each is taken once"
    rows = engine.rows("select seq, taken_by, taken_at from workflow.signals")
    assert {row["seq"] for row in rows} == set(sent)
    assert {row["seq"] for row in rows if row["taken_at"]} == set(output)
    assert [row for row in rows if row["taken_by"] and not row["taken_at"]] == []
