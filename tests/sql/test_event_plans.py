"""What is told, counted and drawn from events and jobs costs what is new of them, with plans from empty tables."""

from typing import Any

import psycopg
import pytest

from .engine import Engine
from .visits import BATCH, OF_ALL_PARTITIONS


@pytest.fixture
def database(database_url: str) -> str:
    """A fresh one: tables that once were large are not small again for the planner."""
    return database_url


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
