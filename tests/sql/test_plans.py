"""The cost of a turn depends on its batch, not on the tables: also with plans made when the tables were empty."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from workflow_engine.records import WorkflowFilter
from workflow_engine.store.history import ATTEMPTS, STANDINGS
from workflow_engine.store.workflow_search import Order, list_query
from workflow_engine.store.workflows import GRAPH

from .engine import Claim, Engine, rated

BIG_TABLES = ("workflows", "tasks", "attempt_history", "jobs", "waits", "holds", "places", "start_keys")
OF_ALL_PARTITIONS = r"regexp_replace(relname, '_(default|(until_)?\d{10})$', '')"
WORKFLOWS = 1000
BATCH = 20


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


@contextmanager
def rows_visited(engine: Engine, most: int, tables: Sequence[str] = BIG_TABLES) -> Iterator[None]:
    """Fails when the statements inside fetch more rows of one of the tables than `most`."""
    counts = (
        f"select {OF_ALL_PARTITIONS} as relname, sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) as visited"
        f" from pg_stat_xact_all_tables where {OF_ALL_PARTITIONS} = any(%s) group by 1"
    )
    with engine.transaction():
        before = {row["relname"]: row["visited"] for row in engine.rows(counts, list(tables))}
        yield
        after = {row["relname"]: row["visited"] for row in engine.rows(counts, list(tables))}
    visited = {name: after[name] - before.get(name, 0) for name in after}
    assert max(visited.values()) <= most, visited


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


def test_the_graph_and_the_trace_of_a_workflow_visit_its_tasks_and_steps(grown: Engine) -> None:
    steps = 1000
    grown.define({f"s{i}": [f"s{(i - 1) // 3}"] if i else [] for i in range(steps)}, name="wide")
    workflow = grown.start("wide")
    grown.run("analyze workflow.definition_steps")  # its statistics are what speaks for reading all steps at once

    for _ in range(7):  # plans with the values, then without
        with rows_visited(grown, 3 * steps, [*BIG_TABLES, "definition_steps"]):
            assert len(grown.rows(GRAPH, workflow)) == steps
        with rows_visited(grown, 3 * steps, [*BIG_TABLES, "definition_steps"]):
            values = {"id": workflow, "each": None}
            assert grown.connection.execute(ATTEMPTS.format(tasks="").encode(), values).fetchall() == []


def test_who_follows_costs_a_look_at_the_workflow_and_at_its_last_event(grown: Engine) -> None:
    followed = [row["id"] for row in grown.rows("select id from workflow.workflows order by id desc limit 20")]
    for _ in range(7):
        with rows_visited(grown, 2 * len(followed), [*BIG_TABLES, "events"]):
            (standings,) = grown.rows(STANDINGS, followed, 10**9)
            assert len(next(iter(standings.values()))) == len(followed)


@pytest.mark.parametrize("order", ["newest", "oldest", "longest"])
@pytest.mark.parametrize(
    "which",
    [
        WorkflowFilter(name="nobody"),
        WorkflowFilter(name="no*", since=datetime(2020, 1, 1, tzinfo=UTC)),
        WorkflowFilter(labels={"team": "none"}, status=["failed", "cancelled"]),
        WorkflowFilter(status=["pending", "running"], min_seconds=86_400),
    ],
)
def test_what_few_workflows_meet_is_looked_for_among_so_many_and_no_more(
    grown: Engine, which: WorkflowFilter, order: Order
) -> None:
    # So few that also a plan for a table that nobody has analyzed, which it takes for small, does not sort all of it.
    query, parameters = list_query(which, among=20, limit=10, order=order)
    for _ in range(7):  # plans with the values, then without
        with rows_visited(grown, 30):
            assert grown.connection.execute(query.encode(), parameters).fetchall() == []


def test_how_long_attempts_took_lately_is_read_from_those_that_ended_lately(grown: Engine) -> None:
    for _ in range(7):
        with rows_visited(grown, 0):
            grown.run("select workflow.mean_attempt_seconds('0 seconds', 5000)")


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


def test_narrating_visits_what_is_new_among_many_events(engine: Engine) -> None:
    def narrate(after: int | None) -> dict[str, Any]:
        found: dict[str, Any] = engine.value("select workflow.narrate(%s, '{}')", after)
        return found

    for _ in range(8):  # plans are kept
        top = narrate(0)["top"]
    workflow = engine.value("select workflow.new_id()")
    insert = (
        "insert into workflow.events (workflow_id, type, at)"
        " select %s, %s, workflow.clock() from generate_series(1, %s)"
    )
    visited = (
        "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_all_tables"
        f" where {OF_ALL_PARTITIONS} = 'events'"
    )
    with engine.transaction():
        engine.run(insert, workflow, "task.succeeded", 100_000)
        engine.run(  # as autovacuum does by and by
            "select brin_summarize_new_values(relid) from pg_partition_tree('workflow.events_seq') where isleaf"
        )
        top = engine.value("select max(seq) from workflow.events")
        engine.run(insert, workflow, "workflow.paused", 10)
        before = engine.value(visited)
        assert len(narrate(top)["lines"]) == 10
        assert engine.value(visited) - before < 15_000, "two ranges of the index, whatever the size of the table"
        before = engine.value(visited)
        narrate(None)
        assert engine.value(visited) - before < 15_000
        raise psycopg.Rollback


def test_the_spans_that_ended_are_found_among_many_events(engine: Engine) -> None:
    def ended(after: int | None) -> dict[str, Any]:
        found: dict[str, Any] = engine.value("select workflow.ended_spans(%s, '{}')", after)
        return found

    engine.define({"a": []})
    for _ in range(8):  # plans are kept
        ended(0)
    insert = (
        "insert into workflow.events (workflow_id, type, at)"
        " select workflow.new_id(), 'task.succeeded', workflow.clock() from generate_series(1, 100000)"
    )
    visited = (
        "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_all_tables"
        f" where {OF_ALL_PARTITIONS} in ('events', 'workflows', 'tasks', 'attempt_history')"
    )
    with engine.transaction():
        engine.run(insert)
        engine.run(  # as autovacuum does by and by
            "select brin_summarize_new_values(relid) from pg_partition_tree('workflow.events_seq') where isleaf"
        )
        top = engine.value("select max(seq) from workflow.events")
        engine.start_many([{"name": "flow"}] * 10)
        engine.finish(*(claim.succeeded() for claim in engine.claim()))
        before = engine.value(visited)
        assert len(ended(top)["workflows"]) == 10
        assert engine.value(visited) - before < 15_000, "two ranges of the index, whatever the size of the table"
        raise psycopg.Rollback


def test_counting_visits_what_is_new_among_many_events(engine: Engine) -> None:
    def count() -> dict[str, Any]:
        found: dict[str, Any] = engine.value("select workflow.count_events('{1}', p_patience => '0')")
        return found

    insert = (
        "insert into workflow.events (workflow_id, type, at)"
        " select workflow.new_id(), %s, workflow.clock() from generate_series(1, %s)"
    )
    visited = (
        "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_all_tables"
        f" where {OF_ALL_PARTITIONS} = any('{{events,workflows}}')"
    )
    for _ in range(8):  # plans are kept
        count()
    with engine.transaction():
        engine.run(insert, "task.succeeded", 100_000)
        engine.run(  # as autovacuum does by and by
            "select brin_summarize_new_values(relid) from pg_partition_tree('workflow.events_seq') where isleaf"
        )
        engine.run("update workflow.counted_events set seq = (select max(seq) from workflow.events), next_seq = null")
        engine.run(insert, "workflow.failed", 10)
        assert count()["behind"], "this transaction is still open"
        before = engine.value(visited)
        ((_, state, _, n, _),) = count()["ended"]
        assert (state, n) == ("failed", 10)
        assert engine.value(visited) - before < 15_000, "two ranges of the index, whatever the size of the table"
        raise psycopg.Rollback


def test_how_workflows_ended_lately_is_read_of_those_definitions_and_days_alone(engine: Engine) -> None:
    insert = (
        "insert into workflow.daily_ends"
        " select (workflow.clock() at time zone 'utc')::date - d, 'flow ' || n, 1, 'succeeded', p, 1"
        " from generate_series(0, 30) d, generate_series(1, 100) n, generate_series(1, 10) p"
    )
    visited = (
        "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_all_tables"
        " where relname = 'daily_ends'"
    )
    ask = "select succeeded from workflow.recent_ends('{flow 7,flow 8}') where name = 'flow 7' and version is null"
    for _ in range(8):  # plans are kept
        engine.rows(ask)
    with engine.transaction():
        engine.run(insert)
        before = engine.value(visited)
        assert engine.value(ask) == 70
        assert engine.value(visited) - before <= 2 * 7 * 10
        before = engine.value(visited)
        engine.run("select workflow.sweep_daily_ends()")
        assert engine.value(visited) - before < 10, "nothing is old enough"
        raise psycopg.Rollback


def test_a_snapshot_of_what_is_pending_visits_that_and_nothing_else(engine: Engine) -> None:
    """However many jobs are parked, scheduled or running."""
    insert = (
        "insert into workflow.jobs (queue_name, task_name, args, scheduled_at, status)"
        " select %s, 'workflow:noop', jsonb_build_object('task_id', i), {}, %s::procrastinate_job_status"
        " from generate_series(1, 20000) i"
    )
    snapshot = "select queue, task_ids, pending from workflow.pending_tasks()"
    visited = "select idx_tup_fetch + seq_tup_read from pg_stat_xact_all_tables where relname = 'jobs'"
    engine.define({"a": []})
    for _ in range(6):  # the sixth call plans for all that follow
        assert engine.rows(snapshot) == []
        assert engine.value("select workflow.count_pending(100)") == 0
    with engine.transaction() as _:
        engine.run(insert.format("workflow.never()"), "default", "todo")
        engine.run(insert.format("now() + interval '1 hour'"), "other", "todo")
        engine.run(insert.format("null"), "default", "doing")
        engine.start_many([{"name": "flow"}] * BATCH)
        before = engine.value(visited)
        (row,) = engine.rows(snapshot)
        assert (row["queue"], row["pending"]) == ("default", BATCH)
        assert engine.value(visited) - before < 2 * BATCH
        before = engine.value(visited)
        assert engine.value("select workflow.count_pending(100000)") == BATCH
        assert engine.value("select workflow.count_pending(3)") == 3
        assert engine.value(visited) - before < 2 * BATCH
        raise psycopg.Rollback


@pytest.fixture
def lined(engine: Engine, other: Engine) -> Iterator[Engine]:
    """As `grown`, with steps under a lock and a limit: hundreds wait in line, others are held by a pause."""
    engine.leave_unanalysed("workflow.workflows", "workflow.tasks", "workflow.waits", "workflow.holds", "workflow.jobs")
    engine.define({"a": {"locks": ["ledger"], "limits": {"some": (5, 1)}}, "b": ["a"]})
    engine.define({"a": {"workflow_locks": ["whole"]}}, name="whole")
    for _ in range(8):
        for _ in range(3):
            engine.start()
            engine.start("whole")
        for _ in range(3):
            engine.finish(*(c.succeeded() for c in engine.claim()))
            engine.lock_waits()
        engine.sweep_waiters()
        engine.sweep_held()
        workflow = engine.start()
        engine.claim()
        engine.release_locks(workflow)
        engine.pause_workflow(workflow)
        engine.claim()
        engine.resume_workflow(workflow)
        engine.finish(*(c.failed() for c in engine.claim()))
        engine.cancel(engine.start())
        engine.pause()
        engine.sweep_held()
        engine.resume()
        while claims := engine.claim():
            engine.finish(*(c.skipped() for c in claims))
    other.start_many([{"name": "flow"}] * WORKFLOWS)
    yield engine
    engine.run("analyze")


def test_who_frees_a_lock_and_who_takes_it_visit_the_head_of_the_line_only(lined: Engine) -> None:
    claims = lined.claim(BATCH)
    assert [c.step for c in claims] == ["a"]
    while lined.claim(200) or lined.rows("select 1 from workflow.jobs where scheduled_at is null and status = 'todo'"):
        pass  # all the others get in line
    with rows_visited(lined, 150):
        turn = lined.turn([claims[0].succeeded()], want=BATCH)
    assert {c.step for c in lined.claims_of(turn)} == {"a", "b"}
    with rows_visited(lined, 700):  # 200 places of a line whose head lacks something else
        assert lined.sweep_waiters()["woken"] == 0
    with rows_visited(lined, 150):
        assert lined.lock_waits() == set()
    with rows_visited(lined, 150):
        lined.release_locks(next(c.workflow for c in lined.claims_of(turn) if c.step == "a"))
    (waiting, *_) = lined.line("ledger")
    with rows_visited(lined, 150):
        lined.pause_workflow(waiting)
    with rows_visited(lined, 150):
        lined.resume_workflow(waiting)
    with rows_visited(lined, 150):
        lined.cancel(waiting)


def test_holding_back_visits_so_many_jobs_as_it_is_told(lined: Engine) -> None:
    lined.run("update workflow.engine set paused_at = workflow.clock()")
    with rows_visited(lined, 20 * BATCH):
        assert lined.sweep_held(limit=BATCH)["parked"] == BATCH
    lined.run("update workflow.engine set paused_at = null")
    with rows_visited(lined, 20 * BATCH):
        assert lined.sweep_held(limit=BATCH)["unparked"] == BATCH


@pytest.fixture
def queued(engine: Engine, other: Engine) -> Iterator[Engine]:
    """As `grown`, with a thousand workflows in line for one concurrency key."""
    engine.leave_unanalysed("workflows", "tasks", "places", "start_keys")
    key = [{"path": ["input", "key"]}]
    plan = {
        "concurrency": [{"key": key, "limit": 2, "on_conflict": "queue"}],
        "idempotency": {"key": [{"path": ["input", "order"]}], "on_conflict": "return_existing", "ttl": 60},
    }
    engine.define({"a": []}, plan=plan)
    for n in range(8):
        for order in range(4):
            engine.start(input={"key": "k", "order": 4 * n + order})
        engine.start(input={"key": "k", "order": 4 * n})
        engine.cancel(engine.queued("k")[0])
        engine.pause_workflow(engine.queued("k")[0])
        engine.resume_workflow(engine.queued("k")[0])
        engine.finish(*(c.failed() for c in engine.claim()))
        (failed, *_) = engine.rows("select id from workflow.workflows where status = 'failed'")
        engine.retry(failed["id"])
        engine.value("select count(*) from workflow.why")
        engine.sweep_places()
        while claims := engine.claim():
            engine.finish(*(c.skipped() for c in claims))
    other.start_many([{"name": "flow", "input": {"key": "k", "order": -n}} for n in range(1, WORKFLOWS)])
    yield engine
    engine.run("analyze")


def test_a_long_line_for_a_concurrency_key_costs_neither_starts_nor_ends(queued: Engine) -> None:
    claims = queued.claim(BATCH)
    assert len(claims) == 2
    with rows_visited(queued, 150):
        turn = queued.turn([claims[0].succeeded()], want=BATCH)
    (next_one,) = queued.claims_of(turn)
    with rows_visited(queued, 60):
        workflow = queued.start(input={"key": "k", "order": 1000})
    with rows_visited(queued, 60):
        assert queued.start(input={"key": "k", "order": 1000}) == workflow
    with rows_visited(queued, 1100):  # the first thousand in line are counted
        assert queued.value("select workflow.pending_reason(%s)", workflow).startswith("queued_behind:")
    waiting = queued.queued("k")[10]
    with rows_visited(queued, 150):
        queued.cancel(waiting)
    with rows_visited(queued, 150):
        assert queued.sweep_places()["entered"] == 0
    queued.finish(claims[1].released(), next_one.released())


@pytest.fixture
def bounded(engine: Engine, other: Engine) -> Iterator[Engine]:
    """As `grown`, with a rate, budgets and a retention: a thousand workflows, most of them in line for the rate."""
    engine.leave_unanalysed("workflows", "tasks", "waits", "holds", "attempt_history")
    engine.define(
        {"a": {"resources": [rated("api", 4, 3600)]}, "b": ["a"]},
        plan={"budget": {"tokens": {"hard": 10**9}}, "retention": {"succeeded": 86400}},
    )
    for n in range(8):
        engine.set_clock(f"{2 * n} hours")
        for _ in range(6):
            engine.start()
        for _ in range(3):
            engine.finish(*(use(c) for c in engine.claim()))
            engine.sweep_waiters()
            engine.wake_rated()
        engine.value("select count(*) from workflow.why")
        engine.value("select workflow.sweep_budgets()")
        engine.value("select workflow.sweep_retention('{}', 20)")
        for row in engine.rows("select id from workflow.workflows where finished_at is null"):
            engine.cancel(row["id"])
    engine.set_clock("20 hours")
    other.set_clock("20 hours")
    other.start_many([{"name": "flow"}] * WORKFLOWS)
    yield engine
    engine.run("analyze")


def use(claim: Claim) -> dict[str, Any]:
    return {**claim.succeeded(), "effects": {"usage": {"input_tokens": 1}}}


def test_rates_budgets_and_retention_cost_what_is_at_hand(bounded: Engine) -> None:
    claims = bounded.claim(BATCH)
    assert len(claims) == 4
    while bounded.claim(200) or bounded.rows(
        "select 1 from workflow.jobs where scheduled_at is null and status = 'todo'"
    ):
        pass  # all the others get in line
    with rows_visited(bounded, 150):
        turn = bounded.turn([use(claims[0])], want=BATCH)
    assert [c.step for c in bounded.claims_of(turn)] == ["b"]
    with rows_visited(bounded, 60):
        waiting = bounded.start()
    with rows_visited(bounded, 150):
        bounded.cancel(waiting)
    with rows_visited(bounded, 150):
        bounded.value("select workflow.sweep_budgets()")
    with rows_visited(bounded, 5 * BATCH):
        bounded.value("select workflow.sweep_retention('{}', %s, %s)", BATCH, BATCH)
    bounded.set_clock("22 hours")
    with rows_visited(bounded, 700):
        assert bounded.wake_rated() == 4
    with rows_visited(bounded, 300):
        turn = bounded.turn(want=BATCH)
    assert len(turn["claims"]) == 4
    bounded.set_clock("50 hours")
    with rows_visited(bounded, 200):
        bounded.value("select workflow.sweep_retention('{}', %s, %s)", BATCH, BATCH)
