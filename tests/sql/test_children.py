"""Child workflows: how they start, what their ends mean for each other, and what happens when both end at once."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest

from .engine import Claim, Engine
from .nested import child, define, step


def claim_only(engine: Engine, name: str) -> Claim:
    claims = engine.claim()
    assert [c.step for c in claims] == [name]
    return claims[0]


def start_family(engine: Engine, **awaits: Any) -> tuple[UUID, UUID, Claim]:
    """A parent that waits for its child, and the claim of the child's only step."""
    define(engine, {"call": step(type="noop"), "after": step(["call"])}, name="parent")
    define(engine, {"work": step()}, name="child")
    parent = engine.start("parent", labels={"team": "x"}, priority=3)
    engine.finish(child(claim_only(engine, "call"), **awaits))
    work = claim_only(engine, "work")
    return parent, work.workflow, work


def children(engine: Engine, parent: UUID) -> list[UUID]:
    return [r["id"] for r in engine.rows("select id from workflow.workflows where parent_id = %s order by id", parent)]


def sweep(engine: Engine) -> dict[str, int]:
    done: dict[str, int] = engine.value("select workflow.sweep_children()")
    return done


def test_a_child_starts_in_the_commit_in_which_its_parent_begins_to_wait(engine: Engine) -> None:
    parent, its, work = start_family(engine, input={"n": 1})
    found = engine.workflow(its)
    assert (found["parent_id"], found["root_id"], found["labels"], found["priority"]) == (
        parent, parent, {"team": "x"}, 3)  # fmt: skip
    assert found["input"] == {"n": 1}
    assert work.raw["workflow_parent_id"] == str(parent)
    assert engine.tasks(parent) == {"call": "waiting", "after": "blocked"}
    assert engine.task(parent, "call")["awaits"]["workflow_id"] == str(its)


def test_the_parent_goes_on_with_the_output_of_its_child_in_the_commit_that_ends_it(engine: Engine) -> None:
    parent, its, work = start_family(engine)
    engine.finish(work.succeeded({"x": 1}))
    assert engine.status(its) == "succeeded"
    call = claim_only(engine, "call")
    assert call.raw["resumed"]["workflow"] == {"id": str(its), "status": "succeeded", "output": {"work": {"x": 1}}}
    assert "workflow_parent_id" not in call.raw
    engine.finish(call.succeeded({"x": 1}))
    engine.finish(claim_only(engine, "after").succeeded())
    assert engine.status(parent) == "succeeded"


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_the_parent_learns_that_its_child_did_not_succeed(engine: Engine, end: str) -> None:
    _, its, work = start_family(engine)
    if end == "failed":
        engine.finish(work.failed("http.500"))
    else:
        engine.cancel(its)
    found = claim_only(engine, "call").raw["resumed"]["workflow"]
    assert found["status"] == end
    assert found["error"]["type"] == ("http.500" if end == "failed" else "cancelled")


def test_the_parent_waits_for_the_ending_of_its_child(engine: Engine) -> None:
    define(engine, {"call": step()}, name="parent")
    define(engine, {"work": step(), "output": step(kind="output")}, name="child")
    engine.start("parent")
    engine.finish(child(claim_only(engine, "call")))
    engine.finish(claim_only(engine, "work").succeeded())
    engine.finish(claim_only(engine, "output").succeeded("rendered"))
    assert claim_only(engine, "call").raw["resumed"]["workflow"]["output"] == "rendered"


def test_a_child_that_is_not_waited_for_lets_its_parent_go_on_and_outlives_it(engine: Engine) -> None:
    define(engine, {"call": step()}, name="parent")
    define(engine, {"work": step()}, name="child")
    parent = engine.start("parent")
    engine.finish(child(claim_only(engine, "call"), wait=False))
    claims = {c.step: c for c in engine.claim()}
    assert claims["call"].raw["resumed"]["workflow"]["status"] in ("pending", "running")
    engine.finish(claims["call"].succeeded(), claims["work"].released())
    assert engine.status(parent) == "succeeded"
    sweep(engine)
    engine.finish(claim_only(engine, "work").succeeded())
    assert [engine.status(c) for c in children(engine, parent)] == ["succeeded"]


@pytest.mark.parametrize(
    ("awaits", "message"),
    [
        ({"name": "unheard"}, "Workflow definition not found: unheard"),
        ({"name": "parent", "version": 9}, "parent@9"),
        ({"name": "deleted"}, "deleted"),
    ],
)
def test_a_child_that_cannot_be_started_fails_its_task_and_nothing_else(
    engine: Engine, awaits: dict[str, Any], message: str
) -> None:
    define(engine, {"call": step(), "other": step()}, name="parent")
    define(engine, {"work": step()}, name="deleted")
    engine.run("update workflow.definitions set disabled_at = now() where name = 'deleted'")
    engine.start("parent")
    claims = {c.step: c for c in engine.claim()}
    assert engine.finish(claims["call"].waiting("child", **awaits), claims["other"].succeeded()) == []
    found = claim_only(engine, "call").raw["resumed"]["workflow"]
    assert (found["status"], found["error"]["type"]) == ("failed", "child_workflow")
    assert message in found["error"]["message"]


def test_children_are_nested_sixteen_deep_and_no_deeper(engine: Engine) -> None:
    define(engine, {"call": step()}, name="child")
    root = engine.start("child")
    for _ in range(16):
        engine.finish(child(claim_only(engine, "call")))
    deepest = claim_only(engine, "call")
    assert engine.value("select depth from workflow.workflows where id = %s", deepest.workflow) == 16
    assert engine.workflow(deepest.workflow)["root_id"] == root
    engine.finish(child(deepest))
    found = claim_only(engine, "call")
    assert found.workflow == deepest.workflow
    assert found.raw["resumed"]["workflow"]["error"]["details"] == {"kind": "too_deep"}


def test_a_paused_engine_does_not_begin_a_child_and_loses_none(engine: Engine) -> None:
    define(engine, {"call": step()}, name="parent")
    define(engine, {"work": step()}, name="child")
    engine.start("parent")
    call = claim_only(engine, "call")
    engine.pause()
    engine.finish(child(call))
    assert engine.claim() == []
    engine.resume()
    engine.finish(claim_only(engine, "work").succeeded())
    assert claim_only(engine, "call").raw["resumed"]["workflow"]["status"] == "succeeded"


def test_cancelling_a_parent_cancels_all_below_it_at_once(engine: Engine) -> None:
    define(engine, {"call": step()}, name="parent")
    define(engine, {"call": step()}, name="middle")
    define(engine, {"work": step()}, name="child")
    parent = engine.start("parent")
    engine.finish(child(claim_only(engine, "call"), "middle"))
    engine.finish(child(claim_only(engine, "call"), "child"))
    work = claim_only(engine, "work")
    engine.cancel(parent)
    statuses = engine.rows("select distinct status from workflow.workflows")
    assert statuses == [{"status": "cancelled"}]
    assert engine.finish(work.succeeded()) == [0]
    assert sweep(engine) == {"woken": 0, "cancelled": 0, "last": None}
    assert engine.value("select count(*) from workflow.children_to_cancel") == 0


def test_an_abandoned_child_goes_on(engine: Engine) -> None:
    parent, its, work = start_family(engine, on_parent_cancel="abandon")
    engine.cancel(parent)
    sweep(engine)
    assert engine.status(its) == "running"
    engine.finish(work.succeeded())
    assert engine.status(its) == "succeeded"


def test_a_parent_that_fails_at_once_has_its_children_cancelled_by_the_next_sweep(engine: Engine) -> None:
    define(engine, {"call": step(), "boom": step()}, name="parent")
    define(engine, {"work": step(), "on_exit": step(kind="on_exit")}, name="child")
    parent = engine.start("parent")
    claims = {c.step: c for c in engine.claim()}
    engine.finish(child(claims["call"]))
    work = claim_only(engine, "work")
    engine.finish(claims["boom"].failed())
    assert (engine.status(parent), engine.status(work.workflow)) == ("failed", "running")
    assert sweep(engine)["cancelled"] == 1
    assert sweep(engine)["cancelled"] == 0  # a second cancel would cut its ending short
    assert engine.workflow(work.workflow)["ending"] == "cancelled"
    engine.finish(claim_only(engine, "on_exit").succeeded())
    assert engine.status(work.workflow) == "cancelled"


def test_a_retry_of_the_task_starts_a_new_child_and_cancels_the_one_that_still_runs(engine: Engine) -> None:
    define(engine, {"call": step()}, name="parent")
    define(engine, {"work": step()}, name="child")
    parent = engine.start("parent")
    engine.finish(child(claim_only(engine, "call"), deadline=60))
    first = claim_only(engine, "work")
    engine.set_clock("61 seconds")
    engine.wake_due()
    call = claim_only(engine, "call")
    assert call.raw["resumed"]["due"]
    assert call.raw["resumed"]["workflow"]["status"] == "running"
    engine.finish(call.retried())
    sweep(engine)
    assert engine.status(first.workflow) == "cancelled"
    engine.wake_due()
    engine.finish(child(claim_only(engine, "call")))
    second = claim_only(engine, "work")
    assert children(engine, parent) == [first.workflow, second.workflow]
    engine.finish(second.succeeded(2))
    assert claim_only(engine, "call").raw["resumed"]["workflow"]["id"] == str(second.workflow)


def test_a_task_that_waits_again_keeps_its_child(engine: Engine) -> None:
    define(engine, {"call": step()}, name="parent")
    define(engine, {"work": step()}, name="child")
    parent = engine.start("parent")
    engine.finish(child(claim_only(engine, "call"), deadline=60))
    work = claim_only(engine, "work")
    engine.set_clock("61 seconds")
    engine.wake_due()
    call = claim_only(engine, "call")
    engine.finish(work.succeeded())  # while its parent's task is running
    engine.finish(call.waiting(**call.raw["resumed"]["awaits"] | {"deadline": 60}))
    assert children(engine, parent) == [work.workflow]
    assert sweep(engine)["woken"] == 1
    assert claim_only(engine, "call").raw["resumed"]["workflow"]["status"] == "succeeded"


# Both at once --------------------------------------------------------------------------------------------------------


def test_a_child_that_ends_while_its_parent_is_locked_does_not_wait_and_is_heard_later(
    engine: Engine, other: Engine
) -> None:
    parent, its, work = start_family(engine)
    with other.transaction():
        other.rows("select 1 from workflow.tasks where id = %s for update", engine.task(parent, "call")["id"])
        engine.finish(work.succeeded())
        assert engine.status(its) == "succeeded"
        assert engine.tasks(parent)["call"] == "waiting"
        assert sweep(engine)["woken"] == 0  # still locked
    assert sweep(engine)["woken"] == 1
    assert claim_only(engine, "call").raw["resumed"]["workflow"]["status"] == "succeeded"


def test_a_child_that_ends_while_its_parent_is_cancelled(engine: Engine, other: Engine) -> None:
    parent, its, work = start_family(engine)
    with other.transaction():
        other.rows("select 1 from workflow.workflows where id = %s for update", its)
        engine.cancel(parent)  # passes over the child
        assert engine.status(parent) == "cancelled"
        assert sweep(engine)["cancelled"] == 0
        other.finish(work.succeeded())
    assert engine.status(its) == "succeeded"
    assert sweep(engine) == {"woken": 0, "cancelled": 0, "last": None}
    assert engine.value("select count(*) from workflow.children_to_cancel") == 0


def test_a_parent_is_cancelled_while_its_child_ends_and_both_end(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[Any]"]
) -> None:
    parent, its, work = start_family(engine)
    with engine.transaction():
        engine.finish(work.succeeded())  # has woken the parent's task, and not committed
        cancelled = blocked(other, lambda: other.cancel(parent))
        engine.turn(want=5)
    cancelled.result()
    assert (engine.status(its), engine.status(parent)) == ("succeeded", "cancelled")
    assert engine.claim() == []


def test_a_parent_times_out_while_its_child_ends(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[Any]"]
) -> None:
    define(engine, {"call": step()}, name="parent", plan={"timeout": 60})
    define(engine, {"work": step()}, name="child")
    parent = engine.start("parent")
    engine.finish(child(claim_only(engine, "call")))
    work = claim_only(engine, "work")
    other.set_clock("61 seconds")
    with engine.transaction():
        engine.finish(work.succeeded())
        swept = blocked(other, lambda: other.value("select workflow.sweep_timed_out()"))
    assert swept.result() == 1
    found = engine.workflow(parent)
    assert (found["status"], found["error"]["type"]) == ("failed", "timeout")
    assert engine.status(work.workflow) == "succeeded"
    assert engine.claim() == []


def test_many_children_that_end_at_once_and_parents_that_are_cancelled_do_not_deadlock(
    engine: Engine, connect: Callable[[], Engine]
) -> None:
    define(engine, {"call": step()}, name="parent")
    limit = {"kind": "limit", "key": "some", "scope": "task", "capacity": 50, "units": 1}
    define(engine, {"work": step(resources=[limit])}, name="child")
    parents = [UUID(s["id"]) for s in engine.start_many([{"name": "parent"}] * 60)["started"]]
    engine.finish(*(child(c) for c in engine.claim()))
    workers = [connect() for _ in range(4)]
    held = [worker.claim(12) for worker in workers]
    order = [parents[::-1], parents]

    def work(number: int) -> None:
        if number < 4:
            for _ in range(4):
                claims = held[number]
                workers[number].finish(*(c.succeeded() for c in reversed(claims)))
                held[number] = workers[number].claim(12)
        else:
            canceller = extra[number - 4]
            for parent in order[number - 4][:30]:
                try:
                    canceller.cancel(parent)
                except psycopg.Error as error:
                    if error.sqlstate != "WF409":  # it has ended already
                        raise
                canceller.value("select workflow.sweep_children()")

    extra = [connect(), connect()]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    for _ in range(20):
        claims = [c for batch in held for c in batch] + engine.claim()
        held = []
        if not claims and sweep(engine) == {"woken": 0, "cancelled": 0, "last": None}:
            break
        engine.finish(*(c.succeeded() for c in claims))
    assert engine.rows("select id from workflow.workflows where finished_at is null") == []
