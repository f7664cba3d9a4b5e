"""Pinning a workflow or a definition to a version, and going on with another version of the definition."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from uuid import UUID, uuid4

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st
from support.invariants import assert_sound

from .engine import Engine, Spec, step
from .model_workflow import Model
from .test_cancel_retry import refused
from .test_properties import LIKE_THIS, models, play
from .test_retry_task import run_all, task_id

V1: Spec = {"a": [], "b": ["a"], "c": ["b"]}
V2: Spec = {"new": [], "a": [], "b": ["a"], "c": ["b", "new"]}
NOT_FOUND = ("WF404", "definition-not-found")


def two_versions(engine: Engine, first: Spec = V1, second: Spec = V2, **fields: Any) -> UUID:
    """A workflow of the first version."""
    engine.define(first, **fields)
    workflow = engine.start()
    assert engine.define(second, **fields) == 2
    return workflow


def failed_at(engine: Engine, name: str) -> UUID:
    workflow = two_versions(engine)
    while (claim := engine.claim_one()).step != name:
        engine.finish(claim.succeeded({"of": claim.step}))
    engine.finish(claim.failed())
    return workflow


def version(engine: Engine, workflow: UUID) -> tuple[int, int | None]:
    row = engine.workflow(workflow)
    return row["version"], row["pinned_version"]


# Pinning --------------------------------------------------------------------------------------------------------------


def test_a_pending_workflow_goes_on_with_the_pinned_version_at_once_and_back(engine: Engine) -> None:
    workflow = two_versions(engine)
    assert engine.pin(workflow, 2) == {"id": str(workflow), "status": "pending", "version": 2, "pinned_version": 2}
    assert engine.tasks(workflow) == {"new": "pending", "a": "pending", "b": "blocked", "c": "blocked"}
    assert len(engine.jobs()) == 2
    assert engine.unpin(workflow) == {"id": str(workflow), "status": "pending", "version": 1, "pinned_version": None}
    assert engine.tasks(workflow) == {"a": "pending", "b": "blocked", "c": "blocked"}
    assert engine.events(workflow)[1:] == [
        "workflow.pinned", "workflow.version_switched", "workflow.unpinned", "workflow.version_switched",
    ]  # fmt: skip
    assert run_all(engine) == ["a", "b", "c"]


def test_unpinning_leads_back_to_the_first_version_however_often_it_was_pinned(engine: Engine) -> None:
    workflow = two_versions(engine)
    engine.define({"third": []})
    engine.pin(workflow, 2)
    engine.pin(workflow, 3)
    assert engine.tasks(workflow) == {"third": "pending"}
    engine.unpin(workflow)
    assert version(engine, workflow) == (1, None)


def test_pinning_twice_is_one_effect(engine: Engine) -> None:
    workflow = two_versions(engine)
    engine.pin(workflow, 2)
    before = engine.snapshot()
    engine.pin(workflow, 2)
    assert engine.snapshot() == before
    engine.unpin(workflow)
    before = engine.snapshot()
    engine.unpin(workflow)
    assert engine.snapshot() == before


def test_a_running_workflow_keeps_its_version_for_all_its_tasks(engine: Engine) -> None:
    workflow = two_versions(engine)
    claim = engine.claim_one()
    assert engine.pin(workflow, 2)["version"] == 1
    assert engine.finish(claim.succeeded()) == []
    assert run_all(engine) == ["b", "c"]
    assert (engine.status(workflow), version(engine, workflow)) == ("succeeded", (1, 2))


def test_a_retry_uses_the_pinned_version_and_keeps_what_succeeded(engine: Engine) -> None:
    workflow = failed_at(engine, "b")
    before = engine.task(workflow, "a")
    engine.pin(workflow, 2)
    assert version(engine, workflow) == (1, 2)
    assert engine.retry(workflow) == 3
    assert version(engine, workflow) == (2, 2)
    assert engine.tasks(workflow) == {"new": "pending", "a": "succeeded", "b": "pending", "c": "blocked"}
    after = engine.task(workflow, "a")
    same = ("status", "output", "attempt", "tries", "started_at", "finished_at", "pending_since", "worker_id")
    assert {k: after[k] for k in same} == {k: before[k] for k in same}
    assert engine.outcomes(workflow, "a") == ["succeeded"]
    assert run_all(engine) == ["b", "new", "c"]
    assert (engine.status(workflow), engine.workflow(workflow)["error"]) == ("succeeded", None)


def test_a_pin_taken_back_before_the_retry_has_no_effect(engine: Engine) -> None:
    workflow = failed_at(engine, "b")
    engine.pin(workflow, 2)
    engine.unpin(workflow)
    engine.retry(workflow)
    assert version(engine, workflow) == (1, None)
    assert run_all(engine) == ["b", "c"]


def test_a_cancelled_workflow_goes_on_with_the_pinned_version(engine: Engine) -> None:
    workflow = two_versions(engine)
    claim = engine.claim_one()
    engine.cancel(workflow)
    engine.pin(workflow, 2)
    engine.retry(workflow, force=True)
    assert engine.finish(claim.succeeded()) == [0], "the late result is stale"
    assert run_all(engine) == ["a", "new", "b", "c"]


def test_a_workflow_cancelled_before_it_began_is_pending_on_the_pinned_version(engine: Engine) -> None:
    workflow = two_versions(engine)
    engine.cancel(workflow)
    engine.pin(workflow, 2)
    engine.retry(workflow, force=True)
    assert (engine.status(workflow), version(engine, workflow)) == ("pending", (2, 2))


def test_one_task_of_a_workflow_that_waits_for_its_pinned_version_is_not_retried_alone(engine: Engine) -> None:
    workflow = failed_at(engine, "b")
    engine.pin(workflow, 2)
    assert refused(lambda: engine.retry_task(task_id(engine, workflow, "b"))) == ("WF409", "invalid-transition")


def test_attempts_at_what_started_anew_are_kept_under_their_old_ids(engine: Engine) -> None:
    workflow = failed_at(engine, "b")
    old, cancelled = task_id(engine, workflow, "b"), task_id(engine, workflow, "c")
    engine.pin(workflow, 2)
    engine.retry(workflow)
    assert task_id(engine, workflow, "b") != old
    assert engine.outcomes(workflow, "b") == []
    assert engine.rows("select id, version_id = (select min(id) from workflow.definition_versions) as first"
                       " from workflow.replaced_tasks order by id") == [
        {"id": old, "first": True}, {"id": cancelled, "first": True}]  # fmt: skip
    assert engine.rows("select * from workflow.workflow_log where task_id is not null and step is null") == []
    assert refused(lambda: engine.retry_task(old)) == ("WF404", "task-not-found")


def test_the_log_of_what_stays_stays_with_it_and_names_what_does_not(engine: Engine) -> None:
    workflow = two_versions(engine)
    engine.finish(engine.claim_one().succeeded(logs=[{"message": "hello"}]))
    engine.finish(engine.claim_one().failed())
    engine.pin(workflow, 2)
    engine.retry(workflow)
    log = engine.rows(
        "select type, step, lines from workflow.workflow_log where workflow_id = %s and task_id > 0 order by seq",
        workflow,
    )
    assert [(row["type"], row["step"], row["lines"]) for row in log][1:4:2] == [
        ("task.succeeded", "a", [{"message": "hello"}]),
        ("task.failed", "b", None),
    ]


def test_a_workflow_of_which_everything_stays_has_succeeded(engine: Engine) -> None:
    workflow = two_versions(engine, {"a": [], "bad": ["a"]}, {"a": []})
    engine.finish(engine.claim_one().succeeded({"n": 1}))
    engine.finish(engine.claim_one().failed())
    engine.pin(workflow, 2)
    assert engine.retry(workflow) == 0
    assert engine.status(workflow) == "succeeded"
    assert engine.workflow(workflow)["output"] == {"a": {"n": 1}}
    assert engine.events(workflow)[-1] == "workflow.succeeded"


def test_a_step_of_another_type_or_with_a_new_dependency_starts_anew(engine: Engine) -> None:
    first: Spec = {"typed": [], "moved": [], "kept": [], "behind": ["moved"], "bad": []}
    second: Spec = {
        "typed": step(type="http"), "first": [], "moved": ["first"], "kept": [], "behind": ["moved"], "bad": [],
    }  # fmt: skip
    workflow = two_versions(engine, first, second, fail_fast=False)
    claims = {c.step: c for c in engine.claim()}
    engine.finish(*(claims[name].succeeded() for name in ("typed", "moved", "kept")), claims["bad"].failed())
    engine.finish(engine.claim_one("behind").succeeded())
    engine.pin(workflow, 2)
    assert engine.retry(workflow) == 5
    assert [name for name, status in engine.tasks(workflow).items() if status == "succeeded"] == ["kept"]


def test_a_stored_record_stays_with_its_task(engine: Engine) -> None:
    workflow = two_versions(engine)
    engine.finish(engine.claim_one().succeeded(record={"n": 1}))
    engine.finish(engine.claim_one().failed())
    engine.pin(workflow, 2)
    engine.retry(workflow)
    assert engine.value("select task_id from workflow.records") == task_id(engine, workflow, "a")


def test_what_failed_fast_follows_the_version(engine: Engine) -> None:
    engine.define({"a": [], "b": []}, fail_fast=True)
    workflow = engine.start()
    engine.define({"a": [], "b": []}, fail_fast=False)
    engine.pin(workflow, 2)
    claims = {c.step: c for c in engine.claim()}
    engine.finish(claims["a"].failed())
    assert engine.status(workflow) == "running"
    engine.finish(claims["b"].succeeded())


def test_pinning_is_refused_for_what_succeeded_and_for_what_is_unknown(engine: Engine) -> None:
    workflow = two_versions(engine)
    assert refused(lambda: engine.pin(workflow, 3)) == NOT_FOUND
    assert refused(lambda: engine.pin(uuid4(), 1)) == ("WF404", "workflow-not-found")
    assert refused(lambda: engine.pin_definition("absent", 1)) == NOT_FOUND
    assert refused(lambda: engine.pin_definition("flow", 9)) == NOT_FOUND
    run_all(engine)
    for call in (lambda: engine.pin(workflow, 2), lambda: engine.unpin(workflow)):
        assert refused(call) == ("WF409", "invalid-transition")


def test_a_pinned_definition_starts_new_workflows_on_its_version(engine: Engine) -> None:
    two_versions(engine)
    assert engine.pin_definition("flow", 1) == {"latest_version": 2, "pinned_version": 1}
    assert version(engine, engine.start()) == (1, None)
    assert version(engine, engine.start(version=2)) == (2, None)
    assert engine.pin_definition("flow", None) == {"latest_version": 2, "pinned_version": None}
    assert version(engine, engine.start()) == (2, None)


def test_a_paused_workflow_stays_held_in_its_new_version(engine: Engine) -> None:
    workflow = two_versions(engine)
    engine.pause_workflow(workflow)
    engine.pin(workflow, 2)
    assert engine.claim() == []
    engine.resume_workflow(workflow)
    assert run_all(engine) == ["a", "new", "b", "c"]


def test_a_workflow_that_ended_paused_and_goes_on_with_another_version_is_paused_no_longer(engine: Engine) -> None:
    workflow = two_versions(engine)
    engine.pause_workflow(workflow)
    engine.cancel(workflow)
    engine.pin(workflow, 2)
    engine.retry(workflow, force=True)
    assert engine.workflow(workflow)["paused_at"] is None
    assert run_all(engine) == ["a", "new", "b", "c"]


def test_places_in_line_go_with_the_tasks_that_had_them(engine: Engine) -> None:
    locked: Spec = {"a": step(locks=["ledger"])}
    engine.define(locked)
    holder, waiting, last = engine.start(), engine.start(), engine.start()
    claim = engine.claim_one()
    assert engine.line("ledger") == [waiting, last]
    engine.define({"b": step(locks=["ledger"])})
    engine.pin(waiting, 2)
    assert engine.line("ledger") == [last]
    assert engine.claim() == []
    assert engine.line("ledger") == [waiting, last], "its place is kept"
    engine.finish(claim.succeeded())
    assert run_all(engine) == ["b", "a"]
    assert engine.status(holder) == "succeeded"


# Two connections ------------------------------------------------------------------------------------------------------


def test_a_pin_waits_for_the_claim_that_starts_the_workflow_and_then_leaves_it(
    engine: Engine, other: Engine, blocked: Callable[..., "Future[dict[str, Any]]"]
) -> None:
    workflow = two_versions(engine)
    with engine.transaction():
        claims = engine.claim()
        pinned = blocked(other, lambda: other.pin(workflow, 2))
    assert pinned.result() == {"id": str(workflow), "status": "running", "version": 1, "pinned_version": 2}
    assert engine.finish(*(c.succeeded() for c in claims)) == []


def test_a_claim_passes_by_a_workflow_that_is_being_switched(engine: Engine, other: Engine) -> None:
    workflow = two_versions(engine)
    with engine.transaction():
        engine.pin(workflow, 2)
        assert other.claim() == []
    assert {c.step for c in other.claim()} == {"new", "a"}


# Any graph ------------------------------------------------------------------------------------------------------------


@settings(LIKE_THIS, max_examples=25)
@given(before=models(), after=models(), rounds=st.integers(0, 4), types=st.data())
def test_any_workflow_can_go_on_with_any_version(
    engine: Engine, before: Model, after: Model, rounds: int, types: st.DataObject
) -> None:
    engine.forget_work()
    http = {name for name in (*before.steps, *after.steps) if types.draw(st.integers(0, 3)) == 0}
    other_types = types.draw(st.booleans())
    first = define(engine, before, set() if other_types else http)
    second = define(engine, after, http)
    if first == second:
        return
    same_type = set(before.steps) - (http if other_types else set())
    workflow = engine.start(version=first)
    play(engine, before, workflow, rounds=rounds)
    if before.workflow == "succeeded":
        return
    if before.workflow in {"pending", "running"}:
        engine.cancel(workflow)
    engine.pin(workflow, second)

    assert engine.retry(workflow, force=True) == after.take_over(before, same_type)

    assert engine.tasks(workflow) == after.status
    assert engine.status(workflow) == ("succeeded" if set(after.status.values()) == {"succeeded"} else after.workflow)
    assert_sound(engine)
    play(engine, after, workflow)
    assert engine.jobs() == []
    attempts = {row["step"]: row["attempt"] for row in engine.rows(
        "select step, attempt from workflow.task_list where workflow_id = %s", workflow)}  # fmt: skip
    assert attempts == after.attempts


def define(engine: Engine, model: Model, http: set[str]) -> int:
    return engine.define(
        {name: {**s.spec, "type": "http" if name in http else "noop"} for name, s in model.steps.items()},
        fail_fast=model.fail_fast,
    )


# The list -------------------------------------------------------------------------------------------------------------


def test_versions_are_listed_with_the_live_workflows_on_them(engine: Engine) -> None:
    two_versions(engine)
    pinned, ended = engine.start(version=2), engine.start(version=2)
    engine.cancel(ended)
    engine.pin(pinned, 1)
    columns = "version, active_runs, pinned_runs, is_default, latest_version, pinned_version"
    listed = f"select {columns} from workflow.version_list order by version"
    assert [tuple(row.values()) for row in engine.rows(listed)] == [(1, 2, 1, False, 2, None), (2, 0, 0, True, 2, None)]
    engine.pin_definition("flow", 1)
    assert [tuple(row.values()) for row in engine.rows(listed)] == [(1, 2, 1, True, 2, 1), (2, 0, 0, False, 2, 1)]


def test_counting_them_visits_only_live_workflows(engine: Engine) -> None:
    two_versions(engine)
    with engine.transaction() as _:
        engine.run(
            "insert into workflow.workflows (id, version_id, name, version, status, open_tasks, created_at,"
            " finished_at) select workflow.new_id(), (select max(id) from workflow.definition_versions), 'flow', 2,"
            " 'succeeded', 0, now(), now() from generate_series(1, 20000)"
        )
        engine.run("analyze workflow.workflows")
        visited = (
            "select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) from pg_stat_xact_all_tables"
            " where relname = 'workflows'"
        )
        before = engine.value(visited)
        assert sum(row["active_runs"] for row in engine.rows("select active_runs from workflow.version_list")) == 1
        assert engine.value(visited) - before < 100
        raise psycopg.Rollback


def test_null_is_no_version(engine: Engine) -> None:
    workflow = two_versions(engine)
    before = engine.snapshot()
    engine.value("select workflow.pin(%s, null)", workflow)
    assert engine.snapshot() == before
