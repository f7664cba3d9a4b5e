"""Budgets: counted in the commit that records the attempt; what is used up stops what counts against it."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from .engine import Claim, Completion, Engine


def define(engine: Engine, on_exceeded: str = "pause", *, name: str = "flow", **bounds: Mapping[str, Any]) -> None:
    spec: dict[str, Any] = {f"s{n}": [f"s{n - 1}"] if n else [] for n in range(4)}
    engine.define(spec, name=name, plan={"budget": {**bounds, "on_exceeded": on_exceeded}})


def used(claim: Claim, tokens: int = 0, cost: float = 0, outcome: str = "succeeded") -> Completion:
    usage = {"input_tokens": tokens, "cost_usd": cost}
    return {**claim._ended(outcome), "effects": {"usage": usage}}


def step(engine: Engine, tokens: int = 0, cost: float = 0) -> None:
    (claim,) = engine.claim()
    engine.finish(used(claim, tokens, cost))


def usage(engine: Engine, workflow: UUID) -> dict[str, Any]:
    found: dict[str, Any] = engine.value("select workflow.budget_usage(%s)", workflow)
    return found


def test_what_attempts_use_up_is_counted_and_a_soft_bound_is_told_once(engine: Engine) -> None:
    define(engine, tokens={"soft": 100, "hard": 1000}, cost_usd={"soft": None, "hard": 5})
    workflow = engine.start()
    step(engine, 60, 0.5)
    step(engine, 60, 0.25)
    step(engine, 60)
    found = usage(engine, workflow)
    assert (found["tokens"], found["cost_usd"]["used"], found["steps"]["used"]) == (
        {"used": 180, "soft": 100, "hard": 1000}, 0.75, 3,
    )  # fmt: skip
    assert engine.events(workflow).count("workflow.budget_warning") == 1
    assert [r["bound"] for r in engine.value("select workflow.sweep_budgets()")] == ["tokens"]
    assert engine.value("select workflow.sweep_budgets()") == []
    step(engine)
    assert engine.status(workflow) == "succeeded"


def test_a_hard_bound_pauses_the_workflow_in_the_same_commit(engine: Engine) -> None:
    define(engine, tokens={"hard": 100})
    workflow = engine.start()
    (claim,) = engine.claim()
    turn = engine.turn([used(claim, 100)], want=10)
    assert turn["claims"] == []
    assert engine.workflow(workflow)["paused_at"] is not None
    assert "workflow.budget_exceeded" in engine.events(workflow)
    with pytest.raises(psycopg.Error, match="100 of 100 tokens") as error:
        engine.resume_workflow(workflow)
    assert (error.value.sqlstate, error.value.diag.message_detail) == ("WF409", "budget-exceeded")
    engine.value("select workflow.set_budget(%s, %s)", workflow, Jsonb({"tokens": {"hard": 150}}))
    assert engine.workflow(workflow)["paused_at"] is None
    step(engine, 10)
    assert usage(engine, workflow)["exceeded"] == []
    step(engine, 40)
    assert usage(engine, workflow)["exceeded"] == ["tokens"]
    engine.cancel(workflow)


@pytest.mark.parametrize(("on_exceeded", "status"), [("fail", "failed"), ("cancel", "cancelled")])
def test_a_hard_bound_ends_the_workflow_if_it_says_so(engine: Engine, on_exceeded: str, status: str) -> None:
    define(engine, on_exceeded, cost_usd={"hard": 1})
    workflow = engine.start()
    step(engine, cost=1.5)
    shown = engine.workflow(workflow)
    assert (shown["status"], shown["error"]["type"]) == (status, "budget")
    assert "1.5 of 1 cost_usd" in shown["error"]["message"]


def test_steps_are_finished_attempts(engine: Engine) -> None:
    define(engine, "fail", steps={"hard": 3})
    workflow = engine.start()
    (claim,) = engine.claim()
    engine.finish(claim.released())
    (claim,) = engine.claim()
    engine.finish(claim.retried())
    engine.wake_due()
    step(engine)
    assert usage(engine, workflow)["steps"]["used"] == 2
    step(engine)
    assert engine.status(workflow) == "failed"


def test_a_result_that_is_delivered_twice_is_counted_once(engine: Engine) -> None:
    define(engine, steps={"hard": 10}, tokens={"hard": 100})
    workflow = engine.start()
    (claim,) = engine.claim()
    for _ in range(2):
        assert engine.finish(used(claim, 5)) == []
    assert (usage(engine, workflow)["steps"]["used"], usage(engine, workflow)["tokens"]["used"]) == (1, 5)


def test_one_that_ends_with_the_step_that_uses_up_its_budget_has_succeeded(engine: Engine) -> None:
    engine.define({"a": []}, plan={"budget": {"steps": {"hard": 1}, "on_exceeded": "fail"}})
    workflow = engine.start()
    step(engine)
    assert engine.status(workflow) == "succeeded"


def test_children_count_against_the_budgets_above_them_and_stop_with_them(engine: Engine) -> None:
    define(engine, tokens={"hard": 100})
    define(engine, name="child", tokens={"hard": 1000})
    parent = engine.start()
    child = engine.start("child", parent_id=str(parent), root_id=str(parent))
    claims = {c.workflow: c for c in engine.claim()}
    engine.finish(used(claims[child], 60))
    assert (usage(engine, parent)["tokens"]["used"], usage(engine, child)["tokens"]["used"]) == (60, 60)
    (of_child,) = engine.claim()
    engine.finish(used(of_child, 60))
    assert [engine.workflow(w)["paused_at"] is not None for w in (parent, child)] == [True, True]
    engine.finish(claims[parent].succeeded())
    assert engine.claim() == []
    engine.value("select workflow.set_budget(%s, %s)", parent, Jsonb({"tokens": {"hard": 200}}))
    assert {c.workflow for c in engine.claim()} == {parent, child}


def test_whom_a_lock_kept_from_being_stopped_is_stopped_by_the_sweep(engine: Engine, other: Engine) -> None:
    define(engine, "fail", tokens={"hard": 100})
    engine.define({"a": [], "b": ["a"]}, name="child")
    parent = engine.start()
    child = engine.start("child", parent_id=str(parent), root_id=str(parent))
    claims = {c.workflow: c for c in engine.claim()}
    with other.transaction():
        other.value("select id from workflow.workflows where id = %s for no key update", parent)
        engine.finish(used(claims[child], 100))
        assert engine.status(parent) == "running"
        engine.value("select workflow.sweep_budgets()")
    engine.value("select workflow.sweep_budgets()")
    assert engine.status(parent) == "failed"


def test_a_workflow_without_a_budget_can_be_given_one(engine: Engine) -> None:
    engine.define({"a": [], "b": ["a"]})
    workflow = engine.start()
    assert usage(engine, workflow) is None
    engine.value("select workflow.set_budget(%s, %s)", workflow, Jsonb({"steps": {"hard": 1}}))
    step(engine)
    assert engine.workflow(workflow)["paused_at"] is not None


def test_many_workers_at_once_count_everything(engine: Engine, connect: Callable[[], Engine]) -> None:
    engine.define({f"s{n}": [] for n in range(40)}, plan={"budget": {"tokens": {"hard": 10_000}}})
    workflow = engine.start()
    workers = [connect() for _ in range(4)]

    def work(worker: Engine) -> None:
        for _ in range(15):
            worker.finish(*(used(c, 3) for c in worker.claim(want=2)))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, workers))
    while claims := engine.claim():
        engine.finish(*(used(c, 3) for c in claims))
    assert (usage(engine, workflow)["tokens"]["used"], usage(engine, workflow)["steps"]["used"]) == (120, 40)
