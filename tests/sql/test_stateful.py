"""Any calls of workers, operators and the leader in any order leave what a small model of them says.

The model: `Model` decides about the steps of a workflow, `Flow` adds who runs, waits or is held back, and the rules
below say what each call does. `WORKFLOW_TEST_STATEFUL_EXAMPLES=1000` tries more games than the suite does.
"""

from __future__ import annotations

import os
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.invariants import assert_sound

from .engine import Claim, Completion, Engine
from .model import ENDED
from .model_step import Step
from .model_workflow import MAX_CRASHES, Model
from .stepping import refused

EXAMPLES = int(os.environ.get("WORKFLOW_TEST_STATEFUL_EXAMPLES", "6"))
SECONDS = 1000.0  # of a lease and of a delay; the clock jumps over either, and an example takes no time beside them
RARELY = st.sampled_from((False, False, False, True))
OUTCOMES = ("succeeded", "succeeded", "succeeded", "failed", "retried", "released", "skipped")
GRAPHS = {
    "diamond": {"a": Step([]), "b": Step(["a"]), "c": Step(["a"]), "d": Step(["b", "c"])},
    "tolerant": {"a": Step([], tolerated=True), "b": Step([]), "c": Step(["a", "b"], ordering=["b"])},
    "ruled": {"a": Step([]), "b": Step([]), "c": Step(["a", "b"], rule="all_done"),
              "d": Step(["a", "b"], rule="one_success")},
}  # fmt: skip


@dataclass
class Flow:
    """A workflow: the model of its steps, and what workers and operators have done about it."""

    id: UUID
    model: Model
    cancelled: bool = False
    paused: bool = False
    running: dict[str, Claim] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)  # of those that run
    scheduled: dict[str, bool] = field(default_factory=dict)  # whether its time has come
    crashes: Counter[str] = field(default_factory=Counter)

    @property
    def status(self) -> str:
        return "cancelled" if self.cancelled else self.model.workflow

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def tasks(self) -> dict[str, str]:
        return {name: "running" if name in self.running else "scheduled" if name in self.scheduled else status
                for name, status in self.model.status.items()}  # fmt: skip

    def settle(self, ended: dict[str, str]) -> list[Claim]:
        """Steps end in one transaction; the claims that are void since."""
        for name in ended:
            self.leave(name)
        self.model.settle(ended)
        return self.void()

    def leave(self, name: str) -> None:
        """The attempt of a step is over."""
        self.running.pop(name, None)
        self.expired.discard(name)

    def void(self) -> list[Claim]:
        """Forget what ran or was scheduled of tasks that have ended."""
        gone = [name for name, status in self.model.status.items() if status in ENDED]
        lost = [self.running[name] for name in gone if name in self.running]
        for name in gone:
            self.leave(name)
            self.scheduled.pop(name, None)
        return lost

    def cancel(self) -> list[Claim]:
        self.cancelled = True
        self.model.status = {n: s if s in ENDED else "cancelled" for n, s in self.model.status.items()}
        return self.void()

    def retry(self) -> int:
        self.cancelled = self.paused = False
        count = self.model.reopen()
        for name, status in self.model.status.items():
            if status not in ENDED:
                self.crashes.pop(name, None)
        return count


class Machine(RuleBasedStateMachine):
    engine: ClassVar[Engine]

    def __init__(self) -> None:
        super().__init__()
        self.flows: list[Flow] = []
        self.paused = False
        self.jumps = 0
        self.delivered: list[Completion] = []
        self.stale: list[Completion] = []

    @initialize()
    def begin(self) -> None:
        self.engine.forget_work()
        self.engine.resume()
        self.engine.set_clock("0")
        for graph in GRAPHS:
            self.start(graph, fail_fast=True, repeat=False)
        self.claim(100)

    # What rules pick.

    def pick(self, number: int) -> Flow:
        return self.flows[number % len(self.flows)]

    def some(self, data: st.DataObject, all: list[Any]) -> list[Any]:
        return data.draw(st.lists(st.sampled_from(all), unique_by=id, max_size=4)) if all else []

    def claims(self) -> list[tuple[Flow, str, Claim]]:
        return [(flow, name, claim) for flow in self.flows for name, claim in flow.running.items()]

    def lose(self, claims: list[Claim]) -> None:
        """What workers say of these changes nothing any more."""
        self.stale += [claim.succeeded() for claim in claims]

    # Users.

    @precondition(lambda self: sum(not flow.ended for flow in self.flows) < 5)
    @rule(graph=st.sampled_from(sorted(GRAPHS)), fail_fast=st.booleans(), repeat=st.booleans())
    def start(self, graph: str, fail_fast: bool, repeat: bool) -> None:
        steps = deepcopy(GRAPHS[graph])
        version = self.engine.define({name: step.spec for name, step in steps.items()}, name=graph, fail_fast=fail_fast)
        starts, key = [{"name": graph, "version": version}], uuid4().hex
        answer: dict[str, Any] = {}

        def start() -> None:
            answer.update(self.engine.start_many(starts, key=key))

        assert refused(start) == ("WF503" if self.paused else None)
        if not self.paused:
            self.flows.append(Flow(UUID(answer["started"][0]["id"]), Model(steps, fail_fast=fail_fast)))
            if repeat:
                assert self.engine.start_many(starts, key=key)["started"] == answer["started"]

    @precondition(lambda self: self.flows)
    @rule(number=st.integers(0, 99))
    def cancel(self, number: int) -> None:
        flow = self.pick(number)
        before = flow.status
        answer: list[str] = []
        over = before in ("succeeded", "failed")
        assert refused(lambda: answer.append(self.engine.cancel(flow.id))) == ("WF409" if over else None)
        if not over:
            assert answer == [before]
            self.lose(flow.cancel())

    @precondition(lambda self: self.flows)
    @rule(number=st.integers(0, 99), force=st.booleans())
    def retry(self, number: int, force: bool) -> None:
        flow = self.pick(number)
        answer: list[int] = []
        allowed = flow.status in ("failed", "pending") or (flow.status == "cancelled" and force)
        call = lambda: answer.append(self.engine.retry(flow.id, force=force))  # noqa: E731
        assert refused(call) == (None if allowed else "WF409")
        if allowed:
            assert answer == [flow.retry() if flow.ended else 0]

    @precondition(lambda self: self.flows)
    @rule(number=st.integers(0, 99), pause=RARELY)
    def hold(self, number: int, pause: bool) -> None:
        flow = self.pick(number)
        call = self.engine.pause_workflow if pause else self.engine.resume_workflow
        assert refused(lambda: call(flow.id)) == ("WF409" if flow.ended else None)
        if not flow.ended:
            flow.paused = pause

    @rule(pause=RARELY)
    def hold_all(self, pause: bool) -> None:
        (self.engine.pause if pause else self.engine.resume)()
        self.paused = pause

    # Workers.

    @rule(want=st.sampled_from((1, 2, 100)))
    def claim(self, want: int) -> None:
        self.come_due()
        turn = self.engine.turn(want=want, lease=SECONDS)
        free = {
            (flow.id, name): flow
            for flow in self.flows
            if not flow.ended and not flow.paused and not (self.paused and flow.status == "pending")
            for name, status in flow.tasks.items()
            if status == "pending"
        }
        claims = self.engine.claims_of(turn)
        assert len(claims) == min(want, len(free)) or turn["again"]
        for claim in claims:
            flow = free.pop((claim.workflow, claim.step))
            flow.model.attempts[claim.step] += 1
            assert claim.attempt == flow.model.attempts[claim.step]
            flow.running[claim.step] = claim

    def come_due(self) -> None:
        for flow in self.flows:
            flow.scheduled = {name: due for name, due in flow.scheduled.items() if not due}

    @precondition(lambda self: any(flow.running for flow in self.flows))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        ends = {id(end): (*end, data.draw(st.sampled_from(OUTCOMES))) for end in self.some(data, self.claims())}
        batch = [
            claim.retried(SECONDS) if outcome == "retried" else getattr(claim, outcome)()
            for _, _, claim, outcome in ends.values()
        ]
        assert self.engine.finish(*batch) == []
        self.delivered += batch
        for flow in self.flows:
            of_flow = {name: outcome for f, name, _, outcome in ends.values() if f is flow}
            for name, outcome in of_flow.items():
                flow.leave(name)
                if outcome == "retried":
                    flow.scheduled[name] = False
            self.lose(flow.settle({n: o for n, o in of_flow.items() if o in ENDED}))

    @precondition(lambda self: self.delivered or self.stale)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """What was said already is accepted and does nothing; what is void is refused and does nothing."""
        known, void = self.some(data, self.delivered), self.some(data, self.stale)
        before = self.engine.snapshot()
        assert self.engine.finish(*known, *void) == [len(known) + n for n in range(len(void))]
        assert self.engine.snapshot() == before

    @rule()
    def heartbeat(self) -> None:
        held = self.claims()
        assert self.engine.heartbeat([claim for _, _, claim in held], lease=SECONDS) == []
        for flow in self.flows:
            flow.expired.clear()

    # The leader, and time.

    @rule()
    def jump(self) -> None:
        self.jumps += 1
        self.engine.set_clock(f"{self.jumps * 2 * SECONDS} seconds")
        for flow in self.flows:
            flow.expired = set(flow.running)
            flow.scheduled = dict.fromkeys(flow.scheduled, True)

    @rule()
    def wake(self) -> None:
        due = sum(sum(flow.scheduled.values()) for flow in self.flows)
        assert self.engine.wake_due() == due
        self.come_due()

    @rule(late=st.booleans())
    def sweep(self, late: bool = True) -> None:
        if late:
            self.jump()
        recovered = failed = 0
        for flow in self.flows:
            lost = {name: flow.running[name] for name in flow.expired}
            flow.crashes.update(list(lost))
            dead = dict.fromkeys((name for name in lost if flow.crashes[name] >= MAX_CRASHES), "failed")
            for name in lost:
                flow.leave(name)
            self.lose([*lost.values(), *flow.settle(dead)])
            recovered, failed = recovered + len(lost) - len(dead), failed + len(dead)
        assert self.engine.sweep_expired_leases(max_crashes=MAX_CRASHES) == (recovered, failed)

    @invariant()
    def agrees(self) -> None:
        found = {(row["workflow_id"], row["step"]): row["status"] for row in self.engine.rows(
            "select workflow_id, step, status from workflow.task_list")}  # fmt: skip
        assert found == {(flow.id, name): status for flow in self.flows for name, status in flow.tasks.items()}
        states = {row["id"]: (row["status"], row["paused"]) for row in self.engine.rows(
            "select id, status, paused_at is not null and finished_at is null as paused"
            " from workflow.workflows")}  # fmt: skip
        assert states == {flow.id: (flow.status, flow.paused and not flow.ended) for flow in self.flows}
        assert_sound(self.engine)

    def teardown(self) -> None:
        """Nothing is held back any more: everything comes to its end."""
        self.hold_all(pause=False)
        for number, flow in enumerate(self.flows):
            if not flow.ended:
                self.hold(number, pause=False)
        for _ in range(50):
            if all(flow.ended for flow in self.flows):
                break
            self.sweep()
            self.claim(100)
            for flow, name, claim in self.claims():
                if name in flow.running:
                    assert self.engine.finish(claim.succeeded()) == []
                    flow.settle({name: "succeeded"})
        self.agrees()
        assert all(flow.ended for flow in self.flows)
        assert self.engine.jobs() == []


@pytest.mark.timeout(60 + 20 * EXAMPLES)
def test_any_calls_in_any_order_leave_what_a_model_of_them_says(engine: Engine) -> None:
    Machine.engine = engine
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # looking for a smaller game takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
