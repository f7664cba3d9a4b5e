"""The cost of a turn depends on its batch, not on the tables: also with plans made when the tables were empty."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from .engine import Claim, Engine
from .visits import BATCH, WORKFLOWS, rows_visited


@pytest.fixture
def database(database_url: str) -> str:
    """A fresh one: tables that once were large are not small again for the planner."""
    return database_url


@pytest.fixture
def grown(engine: Engine, other: Engine) -> Iterator[Engine]:
    """An engine whose plans were cached on empty tables, in a database that has grown since, not yet analysed."""
    engine.leave_unanalysed("workflow.workflows", "workflow.tasks", "workflow.attempt_history", "workflow.jobs")
    engine.define({"a": [], "b": {"after": ["a"], "refs": ["a"]}, "c": ["b"]}, fail_fast=False)
    engine.define({"a": [], "b": ["a"], "d": []}, fail_fast=False)
    engine.pin_definition("flow", 1)
    for _ in range(8):  # Postgres keeps a generic plan from the sixth call on
        for _ in range(4):
            engine.start()
        claims = engine.claim()
        engine.heartbeat(claims)
        engine.finish(*(c.succeeded() for c in claims))
        engine.release_forgotten(claims)
        claims = engine.claim()
        engine.release_forgotten()
        engine.finish(*(c.succeeded() for c in claims))
        claims = engine.claim()
        engine.finish(*(c.retried() for c in claims))
        engine.wake_due()
        claims = engine.claim()
        engine.finish(*(c.failed() for c in claims))
        engine.set_clock("40 seconds")
        engine.claim()
        engine.set_clock("75 seconds")
        engine.orphans()
        engine.recover_orphaned([row["workflow_id"] for row in engine.rows("select * from workflow.orphaned limit 1")])
        engine.claim()
        engine.set_clock("120 seconds")
        engine.sweep_expired_leases()
        engine.sweep_leaked_jobs()
        engine.set_clock("0")
        workflow = engine.start()
        engine.cancel(workflow)
        engine.retry(workflow, force=True)
        engine.finish(*(c.skipped() for c in engine.claim()))
        engine.start()
        (claim,) = engine.claim()
        engine.finish(claim.failed())
        engine.retry_task(claim.task_id, 60)
        engine.finish(*(c.skipped() for c in engine.claim()))
        workflow = engine.start()
        engine.pin(workflow, 2)
        engine.unpin(workflow)
        (claim,) = engine.claim()
        engine.finish(claim.succeeded())
        engine.cancel(workflow)
        engine.pin(workflow, 2)
        engine.retry(workflow, force=True)
        engine.cancel(workflow)
    other.start_many([{"name": "flow"}] * WORKFLOWS)
    yield engine
    engine.run("analyze")  # the check of the invariants that follows joins whole tables


def test_turns_visit_rows_in_proportion_to_their_batch(grown: Engine) -> None:
    claims: list[Claim] = []
    ends: tuple[Callable[[Claim], Any], ...] = (
        Claim.succeeded, Claim.released, Claim.retried, Claim.skipped, Claim.failed,
    )  # fmt: skip
    for end in ends:
        with rows_visited(grown, 20 * BATCH):
            turn = grown.turn([end(c) for c in claims], want=BATCH)
        claims = grown.claims_of(turn)
        assert len(claims) == BATCH
    grown.finish(*(c.released() for c in claims))


def chain(length: int) -> dict[str, list[str]]:
    return {f"s{n}": [f"s{n - 1}"] if n else [] for n in range(length)}


def test_a_turn_looks_at_a_handful_of_steps_of_a_version_that_was_not_analysed_yet(engine: Engine) -> None:
    """In the middle of a chain at the step that ended, to know how it ends and where it leads, at its successor, and at
    what is claimed, but not at whether the workflow ends; at its end not at what comes after it."""
    engine.leave_unanalysed("definition_steps")

    def turns(count: int, most: int, want: int = 1) -> None:
        for _ in range(count):
            (claim,) = claims
            with rows_visited(engine, most, ("definition_steps",)):
                turn = engine.turn([claim.succeeded()], want=want)
            claims[:] = engine.claims_of(turn)

    engine.define(chain(3))
    for _ in range(8):  # plans are made where there is next to nothing
        engine.start()
        claims = engine.claim()
        turns(2, most=5)
        turns(1, most=2, want=0)
    engine.define(chain(300), name="long")
    workflow = engine.start("long")
    claims = engine.claim()
    turns(8, most=5)
    engine.cancel(workflow)


def test_heartbeat_visits_the_tasks_it_names(grown: Engine) -> None:
    claims = grown.claim(BATCH)
    with rows_visited(grown, 4 * BATCH):
        assert grown.heartbeat(claims) == []
    grown.finish(*(c.released() for c in claims))


def test_release_of_forgotten_claims_visits_what_the_worker_holds(grown: Engine) -> None:
    claims = grown.claim(BATCH)
    with rows_visited(grown, 20 * BATCH):
        assert grown.release_forgotten(claims[1:]) == 1
    grown.finish(*(c.released() for c in claims[1:]))


def test_a_sample_of_the_invariants_visits_the_workflows_that_it_looks_at(grown: Engine) -> None:
    with rows_visited(grown, 400 * BATCH):
        answer = grown.value("select workflow.sample_invariants(null, %s)", BATCH)
    assert (answer["violations"], answer["workflows"]) == ([], BATCH)


def test_sweeps_visit_what_runs(grown: Engine) -> None:
    claims = grown.claim(BATCH)
    with rows_visited(grown, 4 * BATCH):
        assert grown.sweep_expired_leases() == (0, 0)
    with rows_visited(grown, 4 * BATCH):
        assert grown.sweep_leaked_jobs() == 0
    grown.set_clock("31 seconds")
    with rows_visited(grown, 20 * BATCH):
        assert grown.sweep_expired_leases() == (BATCH, 0)
    assert grown.finish(*(c.succeeded() for c in claims)) == list(range(BATCH))


def test_looking_for_orphans_and_what_workers_hold_visits_what_runs_and_so_many_workflows(
    grown: Engine,
) -> None:
    claims = grown.claim(BATCH)
    with rows_visited(grown, 10 * BATCH):
        assert grown.orphans(scan=BATCH) == {}
    tasks = "select taken_back_at from workflow.tasks_of_workers(%s)"
    with rows_visited(grown, 4 * BATCH):
        assert [row["taken_back_at"] for row in grown.rows(tasks, [grown.worker_id])] == [None] * BATCH
    grown.set_clock("31 seconds")
    with rows_visited(grown, 20 * BATCH):
        assert len(grown.recover_orphaned([c.workflow for c in claims])["recovered"]) == BATCH
    with rows_visited(grown, 4 * BATCH):
        assert None not in [row["taken_back_at"] for row in grown.rows(tasks, [grown.worker_id])]
    assert grown.finish(*(c.succeeded() for c in claims)) == list(range(BATCH))


def test_waking_visits_what_is_due(grown: Engine) -> None:
    claims = grown.claim(BATCH)
    grown.finish(*(c.retried() for c in claims))
    with rows_visited(grown, 10 * BATCH):
        assert grown.wake_due() == BATCH


def test_cancel_and_retry_visit_their_workflow(grown: Engine) -> None:
    claim = grown.claim(1)[0]
    with rows_visited(grown, 100):
        grown.cancel(claim.workflow)
    with rows_visited(grown, 100):
        grown.retry(claim.workflow, force=True)
    with rows_visited(grown, 100):
        grown.retry_task(claim.task_id)
    claim = grown.claim(1)[0]
    grown.finish(claim.failed())
    with rows_visited(grown, 100):
        grown.retry_task(claim.task_id, 60)


def test_switching_to_another_version_visits_its_workflow(grown: Engine) -> None:
    workflow = grown.start()
    with rows_visited(grown, 100):
        grown.pin(workflow, 2)
    with rows_visited(grown, 100):
        grown.unpin(workflow)
    claim = grown.claim(1)[0]
    grown.finish(claim.failed())
    with rows_visited(grown, 100):
        grown.pin(claim.workflow, 2)
        grown.retry(claim.workflow)


def test_start_visits_nothing_old(grown: Engine) -> None:
    with rows_visited(grown, 10):
        grown.start()


def test_explaining_one_workflow_visits_its_own_rows(grown: Engine, other: Engine) -> None:
    def reasons() -> list[str]:
        rows = grown.rows("select reason from workflow.why where workflow_id = %s order by task_id", workflow)
        return [row["reason"] for row in rows]

    workflow = grown.start()
    for _ in range(7):
        reasons()
    other.start_many([{"name": "flow"}] * WORKFLOWS)
    with rows_visited(grown, 30):
        assert reasons() == ["claimable", "waiting_dependency", "waiting_dependency"]
    with rows_visited(grown, 30):
        assert grown.value("select workflow.pending_reason(%s)", workflow) is None
    grown.claim(10)
    other.claim(10)
    with rows_visited(grown, 1100):  # of the queue's backlog the first 1,001
        assert reasons()[0] == "workers_busy"


def test_claim_reads_its_index_in_order_among_many_jobs(engine: Engine) -> None:
    """20,000 pending jobs of another queue, 20,000 scheduled and 20,000 pending ones of its own do not slow it down."""
    insert = (
        "insert into workflow.jobs (queue_name, task_name, args, scheduled_at)"
        " select %s, 'workflow:noop', '{\"task_id\": 1}', %s::timestamptz from generate_series(1, 20000)"
    )
    visited = "select idx_tup_fetch from pg_stat_xact_all_tables where relname = 'jobs'"
    engine.define({"a": []})
    workflow = engine.start(priority=1)
    with engine.transaction() as _:
        for queue, due in (("other", None), ("default", "2099-01-01"), ("default", None)):
            engine.run(insert, queue, due)
        plan = engine.rows(
            "explain (format json) select id from workflow.jobs where status = 'todo' and scheduled_at is null"
            " and queue_name = 'default' and task_name = any(array['workflow:noop'])"
            " order by priority desc, id limit 50 for update skip locked"
        )[0]["QUERY PLAN"]
        assert "jobs_ready" in str(plan)
        assert "Sort" not in str(plan)
        before = engine.value(visited)
        assert [c.workflow for c in engine.claim(1)] == [workflow]
        assert engine.value(visited) - before < 20
        raise psycopg.Rollback
