"""workflow.skip_task: a task succeeds with the output that an operator gives."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from .engine import Engine, step
from .test_cancel_retry import refused
from .test_graph import play
from .test_retry_task import run_all, task_id
from .test_scopes import begin_map, define_block, define_map

CHAIN: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["b"]}


def skip(engine: Engine, task: int, output: Any = None, reason: str | None = None) -> int:
    count: int = engine.value("select workflow.skip_task(%s, %s, %s)", task, Jsonb(output), reason)
    return count


def test_a_pending_task_succeeds_without_running_and_what_is_behind_it_goes_on(engine: Engine) -> None:
    engine.define(CHAIN)
    workflow = engine.start()

    assert skip(engine, task_id(engine, workflow, "a"), {"n": 1}, "Not needed.") == 0

    task = engine.task(workflow, "a")
    assert (task["status"], task["output"], task["output_from"], task["attempt"]) == (
        "succeeded", {"n": 1}, "operator", 0,
    )  # fmt: skip
    assert engine.tasks(workflow) == {"a": "succeeded", "b": "pending", "c": "blocked"}
    data = engine.value("select data from workflow.events where task_id = %s and type = 'task.overridden'", task["id"])
    assert data == {"was": "pending", "reason": "Not needed."}
    assert run_all(engine) == ["b", "c"]
    assert engine.status(workflow) == "succeeded"


def test_repeating_it_changes_nothing_and_another_output_is_refused(engine: Engine) -> None:
    engine.define(CHAIN)
    workflow = engine.start()
    task = task_id(engine, workflow, "a")
    skip(engine, task, {"n": 1})
    before = engine.snapshot()

    assert skip(engine, task, {"n": 1}) == 0
    assert refused(lambda: skip(engine, task, {"n": 2})) == ("WF409", "invalid-transition")

    assert engine.snapshot() == before


@pytest.mark.parametrize("last", [True, False])
def test_what_a_skipped_task_had_waited_for_still_ends_the_workflow(last: bool, engine: Engine) -> None:
    """Nothing open waits for `a` any more: without care the workflow would end while it runs."""
    engine.define({"a": [], "b": ["a"]} if last else {"a": [], "b": ["a"], "c": ["b"]})
    workflow = engine.start()
    claim = engine.claim_one()

    skip(engine, task_id(engine, workflow, "b"))

    assert engine.status(workflow) == "running"
    if not last:
        assert run_all(engine) == ["c"]
        assert engine.status(workflow) == "running"
    engine.finish(claim.succeeded())
    assert engine.status(workflow) == "succeeded"


def test_a_task_in_its_backoff_goes_on_at_once(engine: Engine) -> None:
    engine.define(CHAIN)
    workflow = engine.start()
    engine.finish(engine.claim_one().retried(600))

    skip(engine, task_id(engine, workflow, "a"), 7)

    assert engine.outcomes(workflow, "a") == ["retried"]
    assert run_all(engine) == ["b", "c"]


def test_a_task_that_waits_for_a_lock_leaves_the_line(engine: Engine) -> None:
    engine.define({"a": step(locks=["ledger"])})
    holder, waiting, behind = (engine.start() for _ in range(3))
    claim = engine.claim_one()

    skip(engine, task_id(engine, waiting, "a"))

    assert engine.status(waiting) == "succeeded"
    assert engine.line("ledger") == [behind]
    engine.finish(claim.succeeded())
    assert run_all(engine) == ["a"]
    assert (engine.status(holder), engine.status(behind)) == ("succeeded", "succeeded")


def test_a_failed_task_of_an_ended_workflow_is_passed_and_what_needs_it_runs(engine: Engine) -> None:
    spec = {**CHAIN, "x": [], "y": ["x"]}
    workflow = play(engine, spec, {"b": "failed"})
    assert engine.status(workflow) == "failed"

    assert skip(engine, task_id(engine, workflow, "b"), {"rows": 0}) >= 1

    assert (engine.status(workflow), engine.workflow(workflow)["error"]) == ("running", None)
    assert "b" not in run_all(engine)
    assert engine.status(workflow) == "succeeded"
    assert set(engine.tasks(workflow).values()) == {"succeeded"}
    assert engine.outcomes(workflow, "b") == ["failed"]


def test_the_last_task_of_a_failed_workflow_ends_it_as_succeeded(engine: Engine) -> None:
    workflow = play(engine, {"a": [], "b": ["a"]}, {"b": "failed"})

    assert skip(engine, task_id(engine, workflow, "b"), 1) == 0

    assert engine.status(workflow) == "succeeded"
    assert engine.workflow(workflow)["output"] == {"b": 1}


def test_other_failures_stay(engine: Engine) -> None:
    workflow = play(engine, {"a": [], "x": [], "end": ["a", "x"]}, {"a": "failed", "x": "failed"}, fail_fast=False)

    skip(engine, task_id(engine, workflow, "a"))

    assert run_all(engine) == []
    assert engine.status(workflow) == "failed"
    assert engine.workflow(workflow)["error"]["step"] == "x"
    skip(engine, task_id(engine, workflow, "x"))
    assert run_all(engine) == ["end"]
    assert engine.status(workflow) == "succeeded"


def test_what_runs_has_succeeded_or_was_cancelled_is_refused(engine: Engine) -> None:
    engine.define(CHAIN)
    workflow = engine.start()
    claim = engine.claim_one()
    before = engine.snapshot()
    assert refused(lambda: skip(engine, claim.task_id)) == ("WF409", "invalid-transition")
    assert engine.snapshot() == before
    engine.finish(claim.succeeded())
    assert refused(lambda: skip(engine, claim.task_id)) == ("WF409", "invalid-transition")
    engine.cancel(workflow)
    assert refused(lambda: skip(engine, task_id(engine, workflow, "b"))) == ("WF409", "invalid-transition")
    assert refused(lambda: skip(engine, 1)) == ("WF404", "task-not-found")


def test_a_map_that_waits_for_its_items_is_given_up_with_them(engine: Engine) -> None:
    define_map(engine)
    begin_map(engine, 3)
    (workflow,) = (row["id"] for row in engine.rows("select id from workflow.workflows"))
    running = engine.claim(1)
    each = engine.value("select parent_task_id from workflow.scopes limit 1")

    skip(engine, each, [1, 2, 3])

    assert engine.finish(running[0].succeeded()) == [0], "its result is void"
    assert engine.value("select array_agg(distinct status) from workflow.scopes") == ["cancelled"]
    assert run_all(engine) == ["join"]
    assert engine.status(workflow) == "succeeded"


def test_a_task_inside_a_block_is_passed_while_the_block_runs(engine: Engine) -> None:
    define_block(engine)
    workflow = engine.start()
    engine.finish(engine.claim_one("group").opens(1))
    (a, c) = sorted(engine.claim(), key=lambda claim: claim.step)
    engine.finish(c.succeeded())
    b = engine.value("select id from workflow.tasks where id = %s", a.task_id + 1)

    skip(engine, b, {"ok": True})

    assert engine.value("select status from workflow.scopes") == "running", "what b had waited for still runs"
    engine.finish(a.succeeded())
    group = engine.claim_one("group")
    assert group.raw["resumed"]["status"] == "succeeded"
    engine.finish(group.succeeded())
    assert run_all(engine) == ["after"]
    assert engine.status(workflow) == "succeeded"


def test_a_claim_and_a_skip_cannot_both_have_the_task(
    engine: Engine, other: Engine, blocked: Callable[..., Future[Any]]
) -> None:
    engine.define({"a": []})
    workflow = engine.start()
    task = task_id(engine, workflow, "a")
    with engine.transaction():
        (claim,) = engine.claim()
        skipping = blocked(other, lambda: skip(other, task))
    with pytest.raises(psycopg.Error, match="The task is running"):
        skipping.result()
    engine.finish(claim.succeeded())


def test_a_retry_of_the_workflow_keeps_it(engine: Engine) -> None:
    engine.define(CHAIN)
    workflow = engine.start()
    skip(engine, task_id(engine, workflow, "a"), 1)
    engine.finish(engine.claim_one("b").failed())

    engine.retry(workflow)

    assert run_all(engine) == ["b", "c"]
    assert engine.task(workflow, "a")["output_from"] == "operator"


def test_what_was_undone_when_the_workflow_failed_is_done_again(engine: Engine) -> None:
    engine.define({"a": step(compensation=3), "b": ["a"], "c": ["b"], "a.compensate": step(kind="compensation")})
    workflow = engine.start()
    engine.finish(engine.claim_one("a").succeeded())
    failed = engine.claim_one("b")
    engine.finish(failed.failed())
    refused_while_ending = refused(lambda: skip(engine, failed.task_id))
    engine.finish(engine.claim_one("a.compensate").succeeded())

    skip(engine, failed.task_id, 1)

    assert refused_while_ending == ("WF409", "invalid-transition")
    assert sorted(run_all(engine)) == ["a", "c"]
    assert engine.status(workflow) == "succeeded"


def test_a_map_that_failed_is_passed_as_a_whole(engine: Engine) -> None:
    define_map(engine)
    begin_map(engine, 2)
    workflow = engine.value("select id from workflow.workflows")
    items = engine.claim()
    engine.finish(items[0].failed())
    each = engine.claim_one("each")
    engine.finish(each.failed())
    assert engine.status(workflow) == "failed"
    refused_inside = refused(lambda: skip(engine, items[0].task_id))

    skip(engine, each.task_id, ["x", "y"])

    assert refused_inside == ("WF409", "invalid-transition")
    assert run_all(engine) == ["join"]
    assert engine.status(workflow) == "succeeded"
