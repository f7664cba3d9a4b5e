"""Retries inside maps, loops and blocks: what failed runs again, what succeeded is kept."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from support.invariants import assert_sound

from sql import nested
from sql.engine import Claim, Engine, step
from sql.test_cancel_retry import refused
from sql.test_scopes import claimed, define_block, define_map

REFUSED = ("WF409", "invalid-transition")


def begin(engine: Engine, items: int, *, fail_fast: bool = True, **awaits: Any) -> UUID:
    define_map(engine, fail_fast=fail_fast)
    workflow = engine.start("mapping")
    engine.finish(engine.claim_one("split").succeeded())
    engine.finish(engine.claim_one("each").opens(1, items, **awaits))
    return workflow


def paths(claims: list[Claim]) -> list[str]:
    return sorted(c.raw.get("path", c.step) for c in claims)


def finish_map(engine: Engine, workflow: UUID, outputs: list[Any]) -> None:
    parent = engine.claim_one("each")
    assert parent.raw["resumed"]["status"] == "succeeded"
    assert parent.raw["resumed"]["outputs"] == outputs
    engine.finish(parent.succeeded(outputs))
    engine.finish(engine.claim_one("join").succeeded())
    assert engine.status(workflow) == "succeeded"
    assert_sound(engine)


def failed_map(engine: Engine, failing: set[int], items: int = 4, **options: Any) -> tuple[UUID, list[Claim]]:
    """A map some of whose items failed, and with it its workflow; without fail_fast, so that all have ended."""
    workflow = begin(engine, items, fail_fast=False, **options)
    claims: list[Claim] = []
    while not (batch := claimed(engine))[0].raw.get("resumed"):
        claims += batch
        engine.finish(*(
            c.failed("broken") if c.raw["variables"]["index"] in failing else c.succeeded(c.raw["path"]) for c in batch
        ))  # fmt: skip
    engine.finish(batch[0].failed("broken"))
    assert engine.status(workflow) == "failed"
    return workflow, claims


def test_a_retry_of_a_workflow_redoes_the_failed_items_of_its_map_only(engine: Engine) -> None:
    workflow, _ = failed_map(engine, {1, 3})
    assert engine.retry(workflow) == 2  # the map, and the step behind it
    assert engine.tasks(workflow)["join"] == "blocked"
    assert_sound(engine)
    again = claimed(engine)
    assert paths(again) == ["each[1]", "each[3]"]
    assert [c.attempt for c in again] == [2, 2]
    engine.finish(*(c.succeeded(c.raw["path"] + "!") for c in again))
    finish_map(engine, workflow, ["each[0]", "each[1]!", "each[2]", "each[3]!"])


def test_a_retried_item_that_waits_for_its_turn_starts_at_once_when_it_is_retried_itself(engine: Engine) -> None:
    workflow, claims = failed_map(engine, {0, 1}, items=3, width=1)
    engine.retry(workflow)
    (waits,) = [c.task_id for c in claims if c.raw["path"] == "each[1]"]
    assert engine.retry_task(waits) == 1
    assert_sound(engine)
    again = claimed(engine)
    assert paths(again) == ["each[0]", "each[1]"]
    engine.finish(*(c.succeeded(c.raw["path"]) for c in again))
    finish_map(engine, workflow, ["each[0]", "each[1]", "each[2]"])


def test_items_that_are_redone_are_no_more_at_a_time_than_the_map_is_wide(engine: Engine) -> None:
    workflow, _ = failed_map(engine, {0, 1, 3, 4}, items=5, width=2)
    engine.retry(workflow)
    seen = []
    while not (claims := claimed(engine))[0].raw.get("resumed"):
        assert len(claims) <= 2
        seen += paths(claims)[:1]
        engine.finish(*(c.released() if c.raw["path"] != seen[-1] else c.succeeded(c.raw["path"]) for c in claims))
        assert_sound(engine)
    engine.finish(*(c.released() for c in claims))
    assert seen == ["each[0]", "each[1]", "each[3]", "each[4]"]
    finish_map(engine, workflow, [f"each[{n}]" for n in range(5)])


def test_a_retry_goes_on_with_what_was_cancelled_and_what_never_began(engine: Engine) -> None:
    workflow = begin(engine, 5, width=2)
    items = claimed(engine)
    engine.finish(items[0].failed("broken"))
    engine.finish(engine.claim_one("each").failed("broken"))
    assert engine.status(workflow) == "failed"
    assert_sound(engine)
    engine.retry(workflow)
    assert_sound(engine)
    seen = []
    while not (claims := claimed(engine))[0].raw.get("resumed"):
        seen += paths(claims)
        engine.finish(*(c.succeeded(c.raw["path"]) for c in claims))
    engine.finish(*(c.released() for c in claims))
    assert sorted(seen) == [f"each[{n}]" for n in range(5)]
    finish_map(engine, workflow, [f"each[{n}]" for n in range(5)])


def test_one_failed_item_is_retried_alone_and_the_others_stay_failed(engine: Engine) -> None:
    workflow, claims = failed_map(engine, {1, 3})
    one, three = claims[1].task_id, claims[3].task_id
    assert engine.retry_task(one, 60) == 3  # the item, the map, and the step behind it
    assert_sound(engine)
    item = engine.claim_one()
    assert (item.task_id, item.raw["timeout"]) == (one, 60)
    engine.finish(item.succeeded("again"))
    parent = engine.claim_one("each")
    assert parent.raw["resumed"]["status"] == "failed"
    engine.finish(parent.failed("broken"))
    assert engine.status(workflow) == "failed"
    engine.retry_task(three)
    engine.finish(engine.claim_one().succeeded("again"))
    finish_map(engine, workflow, ["each[0]", "again", "each[2]", "again"])


def test_an_item_is_retried_while_its_map_goes_on(engine: Engine) -> None:
    workflow = begin(engine, 3, fail_fast=False)
    items = claimed(engine)
    engine.finish(items[0].failed("broken"))
    assert engine.retry_task(items[0].task_id) == 1
    assert_sound(engine)
    engine.finish(engine.claim_one().succeeded(0), items[1].succeeded(1), items[2].succeeded(2))
    finish_map(engine, workflow, [0, 1, 2])


def test_an_item_whose_map_has_gone_on_without_it_is_not_retried(engine: Engine) -> None:
    workflow = begin(engine, 2, tolerated=1)
    items = claimed(engine)
    engine.finish(items[0].failed("broken"), items[1].succeeded())
    assert refused(lambda: engine.retry_task(items[0].task_id)) == REFUSED
    engine.finish(engine.claim_one("each").succeeded([None, None]))
    assert refused(lambda: engine.retry_task(items[0].task_id)) == REFUSED
    engine.cancel(workflow)


def test_a_map_whose_own_attempt_failed_is_resumed_and_keeps_all_items(engine: Engine) -> None:
    workflow = begin(engine, 2)
    engine.finish(*(c.succeeded(c.raw["path"]) for c in claimed(engine)))
    engine.finish(engine.claim_one("each").failed("output_invalid"))
    assert engine.retry(workflow) == 2
    finish_map(engine, workflow, ["each[0]", "each[1]"])


def test_a_map_that_the_policy_retried_starts_over_and_items_of_before_are_not_retried(engine: Engine) -> None:
    workflow = begin(engine, 2)
    items = claimed(engine)
    engine.finish(items[0].failed("broken"))
    engine.finish(engine.claim_one("each").retried())
    engine.wake_due()
    assert refused(lambda: engine.retry_task(items[0].task_id)) == REFUSED
    engine.finish(engine.claim_one("each").opens(1, 1))
    engine.finish(engine.claim_one().succeeded("x"))
    finish_map(engine, workflow, ["x"])


@pytest.mark.parametrize("alone", [False, True])
def test_a_retry_of_a_failed_block_goes_on_where_it_failed(engine: Engine, alone: bool) -> None:
    define_block(engine)
    workflow = engine.start()
    engine.finish(engine.claim_one().opens(1))
    engine.finish(*(c.succeeded(c.step) for c in claimed(engine)))
    engine.finish(engine.claim_one("b").opens(2))
    inner = engine.claim_one("inner")
    engine.finish(inner.failed("deep"))
    engine.finish(engine.claim_one("b").failed("deep"))
    engine.finish(engine.claim_one("group").failed("deep"))
    assert engine.status(workflow) == "failed"

    assert (engine.retry_task(inner.task_id) if alone else engine.retry(workflow)) == (4 if alone else 2)
    assert_sound(engine)
    again = engine.claim_one()
    assert (again.raw["path"], again.attempt) == ("group.b.inner", 2)
    engine.finish(again.succeeded("i"))
    b = engine.claim_one("b")
    assert b.raw["resumed"]["outputs"] == [{"inner": "i"}]
    engine.finish(b.succeeded("b"))
    group = engine.claim_one("group")
    assert group.raw["resumed"]["outputs"] == [{"b": "b", "c": "c"}]
    engine.finish(group.succeeded())
    engine.finish(engine.claim_one("after").succeeded())
    assert engine.status(workflow) == "succeeded"


def test_a_cancelled_workflow_goes_on_inside_its_scopes(engine: Engine) -> None:
    define_block(engine)
    workflow = engine.start()
    engine.finish(engine.claim_one().opens(1))
    a = engine.claim_one("a")
    engine.finish(a.succeeded("a"))
    engine.cancel(workflow)
    assert_sound(engine)
    engine.retry(workflow, force=True)
    assert_sound(engine)
    assert paths(claimed(engine)) == ["group.b", "group.c"]


def test_a_map_behind_a_step_that_runs_again_starts_over(engine: Engine) -> None:
    engine.define(
        {
            "split": step(tolerated=True),
            "each": step(["split"]),
            "item": step(id="each", scope=1, depth=1, body=True),
        },
        plan={"scopes": [{"scope": 1, "parent_step": 1, "kind": "item", "depth": 1}]},
    )
    workflow = engine.start()
    engine.finish(engine.claim_one("split").failed())
    engine.finish(engine.claim_one("each").opens(1, 2))
    items = claimed(engine)
    engine.finish(items[0].succeeded(), items[1].failed())
    engine.finish(engine.claim_one("each").failed())
    assert engine.retry(workflow) == 2
    engine.finish(engine.claim_one("split").succeeded())
    parent = engine.claim_one("each")
    assert "resumed" not in parent.raw
    engine.finish(parent.opens(1, 1))
    assert paths(claimed(engine)) == ["each[0]"]


def test_what_was_inside_of_something_inside_a_block_that_starts_over_is_history_too(engine: Engine) -> None:
    nested.define(
        engine,
        {"first": nested.step(), "group": nested.step(["first"], ordering=[0])},
        {"group": ("block", {"inner": nested.step()}), "inner": ("block", {"leaf": nested.step()})},
        plan={"fail_fast": False},
    )
    workflow = engine.start()
    engine.finish(engine.claim_one("first").failed())
    engine.finish(engine.claim_one("group").opens(1))
    engine.finish(engine.claim_one("inner").opens(2))
    engine.finish(engine.claim_one("leaf").failed())
    engine.finish(engine.claim_one("inner").failed())
    engine.finish(engine.claim_one("group").failed())
    engine.retry(workflow)
    shown = engine.rows("select path from workflow.task_list where not replaced order by path")
    assert [row["path"] for row in shown] == ["first", "group"]
    assert_sound(engine)


def test_a_map_that_goes_on_with_another_version_is_kept_without_its_items(engine: Engine) -> None:
    define_map(engine)
    workflow = engine.start("mapping")
    engine.finish(engine.claim_one("split").succeeded())
    engine.finish(engine.claim_one("each").opens(1, 2))
    engine.finish(*(c.succeeded() for c in claimed(engine)))
    engine.finish(engine.claim_one("each").succeeded([None, None]))
    engine.finish(engine.claim_one("join").failed())
    define_map(engine, fail_fast=False)
    engine.pin(workflow, 2)
    assert engine.retry(workflow) == 1
    assert engine.tasks(workflow) == {"split": "succeeded", "each": "succeeded", "join": "pending"}
    assert_sound(engine)
    engine.finish(engine.claim_one("join").succeeded())
    assert engine.status(workflow) == "succeeded"
