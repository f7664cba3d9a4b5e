"""Scopes: items, iterations and blocks under a waiting task, on the level of SQL."""

from __future__ import annotations

from typing import Any

from support.invariants import assert_sound

from sql.engine import Claim, Engine, step
from sql.visits import rows_visited


def define_map(engine: Engine, *, name: str = "mapping", fail_fast: bool = True) -> None:
    """`split` -> `each` (a step for every item) -> `join`."""
    engine.define(
        {
            "split": step(),
            "each": step(["split"]),
            "join": step(["each"], refs=["each"]),
            "item": step(id="each", scope=1, depth=1, body=True),
        },
        name=name,
        fail_fast=fail_fast,
        plan={"scopes": [{"scope": 1, "parent_step": 1, "kind": "item", "depth": 1, "final_steps": 1}]},
    )


def define_block(engine: Engine, *, fail_fast: bool = True) -> None:
    """`group` holds `a` -> `b` and `c`, where `b` holds `inner`; then `after`."""
    scopes = [
        {"scope": 1, "parent_step": 0, "kind": "block", "depth": 1, "final_steps": 2, "refs": [3, 4]},
        {"scope": 2, "parent_step": 3, "kind": "block", "depth": 2, "final_steps": 1},
    ]
    engine.define(
        {
            "group": step(),
            "after": step(["group"]),
            "a": step(scope=1, depth=1),
            "b": step(["a"], scope=1, depth=1),
            "c": step(scope=1, depth=1),
            "inner": step(scope=2, depth=2, refs=["a"]),
        },
        fail_fast=fail_fast,
        plan={"scopes": scopes},
    )


def claimed(engine: Engine) -> list[Claim]:
    """What can be claimed, by path: a claim has no order of its own."""
    return sorted(engine.claim(), key=lambda c: c.task_id)


def begin_map(engine: Engine, items: int, **awaits: Any) -> None:
    engine.start("mapping")
    engine.finish(engine.claim_one("split").succeeded())
    engine.finish(engine.claim_one("each").opens(1, items, **awaits))


def test_items_run_side_by_side_and_their_outputs_come_back_in_order(engine: Engine) -> None:
    define_map(engine)
    begin_map(engine, 3)
    items = claimed(engine)
    assert [c.raw["path"] for c in items] == ["each[0]", "each[1]", "each[2]"]
    assert [c.raw["variables"] for c in items] == [{"index": 0}, {"index": 1}, {"index": 2}]
    assert_sound(engine)

    engine.finish(*(c.succeeded(c.raw["path"]) for c in reversed(items)))
    parent = engine.claim_one("each")
    assert parent.raw["resumed"]["outputs"] == ["each[0]", "each[1]", "each[2]"]
    assert parent.raw["resumed"]["ended"]
    assert_sound(engine)

    engine.finish(parent.succeeded(parent.raw["resumed"]["outputs"]))
    join = engine.claim_one("join")
    assert join.raw["steps"]["each"]["output"] == ["each[0]", "each[1]", "each[2]"]
    engine.finish(join.succeeded())
    assert engine.value("select status from workflow.workflows") == "succeeded"
    assert_sound(engine)


def test_maps_that_begin_to_wait_in_one_batch_open_scopes_of_their_own(engine: Engine) -> None:
    define_map(engine)
    engine.start_many([{"name": "mapping"}] * 3)
    engine.finish(*(c.succeeded() for c in claimed(engine)))
    engine.finish(*(c.opens(1, 3) for c in claimed(engine)))
    items = claimed(engine)
    assert len({c.task_id for c in items}) == len(items) == 9


def test_no_more_items_are_open_than_the_map_is_wide(engine: Engine) -> None:
    define_map(engine)
    begin_map(engine, 5, width=2)
    seen = []
    while not (claims := claimed(engine))[0].raw.get("resumed"):
        assert len(claims) <= 2
        seen += [c.raw["path"] for c in claims]
        engine.finish(claims[-1].succeeded(), *(c.released() for c in claims[:-1]))
        assert_sound(engine)
    assert set(seen) == {f"each[{n}]" for n in range(5)}


def test_the_first_failure_too_many_cancels_the_other_items_and_comes_to_the_parent(engine: Engine) -> None:
    define_map(engine)
    begin_map(engine, 4, tolerated=1)
    items = claimed(engine)
    engine.finish(items[2].failed("first"))
    assert not claimed(engine)
    engine.finish(items[0].failed("second"))
    parent = engine.claim_one()
    assert parent.raw["resumed"]["status"] == "failed"
    assert parent.raw["resumed"]["error"]["type"] == "first"
    assert parent.raw["resumed"]["error"]["path"] == "each[2]"
    assert engine.finish(items[1].succeeded()) == [0]
    assert_sound(engine)
    engine.finish(parent.failed("first"))
    assert engine.value("select status from workflow.workflows") == "failed"
    assert_sound(engine)


def test_without_fail_fast_all_items_run_though_the_map_has_failed(engine: Engine) -> None:
    define_map(engine, fail_fast=False)
    begin_map(engine, 3, width=1)
    engine.finish(engine.claim_one().failed())
    engine.finish(engine.claim_one().succeeded())
    engine.finish(engine.claim_one().succeeded())
    assert engine.claim_one().raw["resumed"]["status"] == "failed"


def test_a_tolerated_failure_is_null_in_the_list(engine: Engine) -> None:
    define_map(engine)
    begin_map(engine, 3, tolerated=1)
    items = claimed(engine)
    engine.finish(items[0].succeeded("x"), items[1].failed(), items[2].succeeded("z"))
    assert engine.claim_one().raw["resumed"]["outputs"] == ["x", None, "z"]


def test_a_block_inside_a_block_sees_the_steps_around_it(engine: Engine) -> None:
    define_block(engine)
    engine.start()
    engine.finish(engine.claim_one().opens(1))
    claims = claimed(engine)
    assert [c.raw["path"] for c in claims] == ["group.a", "group.c"]
    engine.finish(*(c.succeeded(c.step) for c in claims))
    engine.finish(engine.claim_one("b").opens(2))
    inner = engine.claim_one("inner")
    assert inner.raw["path"] == "group.b.inner"
    assert inner.raw["steps"]["a"]["output"] == "a"
    engine.finish(inner.succeeded("i"))
    b = engine.claim_one("b")
    assert b.raw["resumed"]["outputs"] == [{"inner": "i"}]
    engine.finish(b.succeeded("b"))
    group = engine.claim_one("group")
    assert group.raw["resumed"]["outputs"] == [{"b": "b", "c": "c"}]
    assert group.raw["resumed"]["steps"]["b"]["output"] == "b"
    engine.finish(group.succeeded())
    engine.finish(engine.claim_one("after").succeeded())
    assert engine.value("select status from workflow.workflows") == "succeeded"
    assert_sound(engine)


def test_a_failure_deep_inside_ends_the_scopes_around_it_one_after_the_other(engine: Engine) -> None:
    define_block(engine)
    engine.start()
    engine.finish(engine.claim_one().opens(1))
    a, c = claimed(engine)
    engine.finish(a.succeeded())
    engine.finish(engine.claim_one("b").opens(2))
    engine.finish(engine.claim_one("inner").failed("deep"))
    b = engine.claim_one("b")
    error = b.raw["resumed"]["error"]
    assert (error["type"], error["path"]) == ("deep", "group.b.inner")
    engine.finish(b.failed("deep") | {"error": error})
    assert engine.finish(c.succeeded()) == [0], "its scope has failed"
    group = engine.claim_one("group")
    assert group.raw["resumed"]["error"]["path"] == "group.b.inner"
    engine.finish(group.failed("deep"))
    assert engine.rows("select status, error ->> 'type' as error from workflow.workflows") == [
        {"status": "failed", "error": "deep"}
    ]
    assert_sound(engine)


def test_nothing_starts_inside_an_item_that_is_closed_in_the_same_commit(engine: Engine) -> None:
    engine.define(
        {
            "outer": step(),
            "item": step(id="outer", scope=1, depth=1, body=True),
            "leaf": step(id="outer", scope=2, depth=2, body=True),
        },
        plan={
            "scopes": [
                {"scope": 1, "parent_step": 0, "kind": "item", "depth": 1, "final_steps": 1},
                {"scope": 2, "parent_step": 1, "kind": "item", "depth": 2, "final_steps": 1},
            ]
        },
    )
    engine.start()
    engine.finish(engine.claim_one().opens(1, 2))
    first, second = claimed(engine)
    engine.finish(first.opens(2, 2, width=1))
    leaf = engine.claim_one()
    engine.finish(leaf.succeeded(), second.failed())  # there is room for the next leaf, but not for its item any more
    assert_sound(engine)
    assert engine.claim_one().raw["resumed"]["status"] == "failed"


def test_a_block_that_is_tried_again_starts_over_and_its_first_try_is_history(engine: Engine) -> None:
    define_block(engine)
    engine.start()
    engine.finish(engine.claim_one().opens(1))
    a, _ = claimed(engine)
    engine.finish(a.failed())
    engine.finish(engine.claim_one("group").retried())
    group = engine.claim_one("group")
    assert "resumed" not in group.raw
    engine.finish(group.opens(1))
    assert engine.value("select count(*) from workflow.scopes where replaced") == 1
    assert {c.step for c in claimed(engine)} == {"a", "c"}
    assert_sound(engine)


def test_cancelling_a_workflow_ends_everything_inside_its_scopes(engine: Engine) -> None:
    define_block(engine)
    workflow = engine.start()
    engine.finish(engine.claim_one().opens(1))
    a, _ = claimed(engine)
    engine.finish(a.succeeded())
    engine.finish(engine.claim_one("b").opens(2))
    engine.cancel(workflow)
    assert engine.value("select count(*) from workflow.scopes where status <> 'cancelled'") == 0
    assert_sound(engine)


def test_a_timer_wakes_its_task_when_it_is_due(engine: Engine) -> None:
    engine.define({"wait": []})
    engine.start()
    engine.finish(engine.claim_one().waiting("timer", delay=60))
    assert engine.value("select status from workflow.tasks") == "waiting"
    assert_sound(engine)
    assert not claimed(engine)
    engine.set_clock("61 seconds")
    claim = engine.claim_one()
    assert claim.raw["resumed"]["due"]
    engine.finish(claim.succeeded())
    assert engine.value("select status from workflow.workflows") == "succeeded"
    assert_sound(engine)


def test_a_deadline_ends_a_block_that_takes_too_long(engine: Engine) -> None:
    define_block(engine)
    engine.start()
    engine.finish(engine.claim_one().opens(1, deadline=30))
    running = claimed(engine)
    engine.set_clock("31 seconds")
    group = engine.claim_one("group")
    assert group.raw["resumed"]["due"]
    assert not group.raw["resumed"]["ended"]
    engine.finish(group.failed("timeout"))
    assert engine.finish(running[0].succeeded()) == [0]
    assert engine.value("select count(*) from workflow.scopes where finished_at is null") == 0
    assert_sound(engine)


def test_items_of_a_loop_start_after_their_delay(engine: Engine) -> None:
    define_map(engine)
    begin_map(engine, 1, delay=10)
    assert not claimed(engine)
    engine.set_clock("11 seconds")
    assert engine.claim_one().raw["path"] == "each[0]"


def test_a_lost_worker_is_shown_to_a_step_that_catches_once(engine: Engine) -> None:
    engine.define({"risky": step(catches=True)})
    engine.start()
    engine.claim_one()
    engine.set_clock("1 hour")
    engine.sweep_expired_leases(max_crashes=1)
    claim = engine.claim_one()
    assert claim.raw["raised"]["type"] == "worker_lost"
    engine.set_clock("2 hours")
    engine.sweep_expired_leases(max_crashes=1)
    assert engine.value("select error ->> 'type' from workflow.workflows") == "worker_lost"
    assert_sound(engine)


def test_an_item_that_ends_costs_the_same_however_many_items_there_are(engine: Engine) -> None:
    define_map(engine)
    begin_map(engine, 1000)
    engine.run("analyze workflow.scopes, workflow.tasks, workflow.groups")
    for _ in range(7):  # Postgres keeps a generic plan from the sixth call on
        claims = engine.claim(20)
        with rows_visited(engine, 20 * 4, ("scopes", "groups", "tasks")):
            engine.finish(*(c.succeeded() for c in claims))
    engine.forget_work()
