"""What we rely on in procrastinate's schema, and what readers rely on in ours."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from support import eventually

from workflow_engine.queue.schema import queue_migrations, queue_schema
from workflow_engine.store.migrate import migrate, sql_directory

from .engine import Engine

VISITED_JOBS = (
    "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0) from pg_stat_xact_all_tables where relname = 'jobs'"
)

# Columns of procrastinate_jobs that our functions and views read or write, with their types.
JOB_COLUMNS = {
    "id": "bigint",
    "queue_name": "character varying",
    "task_name": "character varying",
    "priority": "integer",
    "args": "jsonb",
    "status": "USER-DEFINED",
    "scheduled_at": "timestamp with time zone",
    "worker_id": "bigint",
}


def test_jobs_are_made_in_array_order_and_their_ids_returned_in_it(engine: Engine) -> None:
    queues = [f"q{n % 7}" for n in range(500)]
    ids = engine.value(
        "select workflow.enqueue(array("
        " select row(n, q, 'contract', 0, null)::workflow.ready_task"
        " from unnest(%s::text[]) with ordinality as x(q, n) order by n))",
        queues,
    )
    assert ids == sorted(ids)
    stored = {job["id"]: (job["queue_name"], job["args"]["task_id"]) for job in engine.jobs()}
    assert [stored[i] for i in ids] == [(q, n) for n, q in enumerate(queues, 1)]
    engine.run("delete from procrastinate_jobs")


def test_job_table_has_the_columns_we_use(engine: Engine) -> None:
    found = {
        row["column_name"]: row["data_type"]
        for row in engine.rows(
            "select column_name, data_type from information_schema.columns where table_name = 'procrastinate_jobs'"
        )
    }
    assert {name: found.get(name) for name in JOB_COLUMNS} == JOB_COLUMNS


def test_job_is_born_todo_and_knows_doing(engine: Engine) -> None:
    labels = engine.rows("select enumlabel from pg_enum where enumtypid = 'procrastinate_job_status'::regtype")
    assert {"todo", "doing"} <= {label["enumlabel"] for label in labels}
    engine.define({"a": []})
    engine.start()
    assert [(job["status"], job["task_name"]) for job in engine.jobs()] == [("todo", "workflow:noop")]


@pytest.mark.parametrize("channel", ["procrastinate_queue_v1#default", "procrastinate_any_queue_v1"])
def test_jobs_made_together_notify_their_queue_and_who_looks_at_all_queues_once(
    engine: Engine, other: Engine, channel: str
) -> None:
    engine.define({f"s{n}": [] for n in range(5)} | {"elsewhere": {"queue": "else"}})
    other.run(f'listen "{channel}"')
    engine.start_many([{"name": "flow"}] * 5)
    assert len(list(other.connection.notifies(timeout=0.5))) == 1


def test_procrastinates_tools_see_and_change_our_jobs_without_a_trace_in_its_tables(engine: Engine) -> None:
    engine.define({"a": []})
    engine.start()
    (job,) = engine.rows("select id, tableoid = 'workflow.jobs'::regclass as ours from procrastinate_jobs")
    assert job["ours"]
    claim = engine.claim_one()
    engine.run("select procrastinate_retry_job_v2(%s, now(), null, null, null)", job["id"])
    assert engine.value("select status from workflow.jobs") == "todo"
    engine.turn(want=1)
    engine.finish(claim.succeeded())
    assert engine.value("select count(*) from procrastinate_events") == 0


def test_jobs_of_others_are_handled_as_procrastinate_has_it(engine: Engine, other: Engine) -> None:
    other.run('listen "procrastinate_queue_v1#mail"')
    worker = engine.value("select worker_id from procrastinate_register_worker_v1()")
    (job,) = engine.value(
        "select procrastinate_defer_jobs_v1(array[row('mail', 'send', 0, null, null, '{}', null)"
        "::procrastinate_job_to_defer_v1])"
    )
    assert len(list(other.connection.notifies(timeout=5, stop_after=1))) == 1
    assert engine.value("select id from procrastinate_fetch_job_v2(array['mail'], %s)", worker) == job
    engine.run("delete from procrastinate_workers where id = %s", worker)
    assert engine.value("select worker_id from procrastinate_jobs where id = %s", job) is None
    events = "select type from procrastinate_events where job_id = %s order by id"
    assert [row["type"] for row in engine.rows(events, job)] == ["deferred", "started"]
    engine.run("select procrastinate_finish_job_v1(%s, 'succeeded', true)", job)
    assert engine.rows(events, job) == []


def test_fetching_the_jobs_of_others_does_not_walk_through_ours(engine: Engine) -> None:
    engine.define({"a": []})
    with engine.transaction():
        engine.start_many([{"name": "flow"}] * 2000)
        engine.run("analyze workflow.jobs")
        before = engine.value(VISITED_JOBS)
        assert engine.value("select id from procrastinate_fetch_job_v2(array['mail'], null)") is None
        assert engine.value(VISITED_JOBS) - before < 20
        raise psycopg.Rollback


def test_jobs_of_a_version_before_are_moved_and_those_of_others_stay(engine: Engine) -> None:
    with engine.transaction():
        engine.run("drop table workflow.jobs cascade")
        engine.run(
            "insert into procrastinate_jobs (queue_name, task_name, args, status) values"
            " ('default', 'workflow:noop', '{\"task_id\": 1}', 'todo'), ('default', 'mail', '{}', 'todo')"
        )
        engine.connection.execute((sql_directory() / "migrations" / "0018_jobs.sql").read_bytes())
        assert [row["args"] for row in engine.rows("select args from workflow.jobs")] == [{"task_id": 1}]
        assert [row["task_name"] for row in engine.rows("select task_name from only procrastinate_jobs")] == ["mail"]
        assert engine.value("select count(*) from procrastinate_events") == 1
        raise psycopg.Rollback


def test_a_migration_ends_nobodys_transaction_and_is_not_ended_by_one(database_url: str) -> None:
    """Whoever works takes locks in another order than migrations do."""
    with (
        psycopg.connect(database_url, autocommit=True) as migrating,
        psycopg.connect(database_url) as working,
        psycopg.connect(database_url, autocommit=True) as watching,
        ThreadPoolExecutor() as threads,
    ):
        again = ["0024_turns", "functions and views"]  # they may be
        migrating.execute("delete from workflow.migrations where name = any(%s)", [again])
        working.execute("lock table workflow.tasks in share update exclusive mode")
        migration = threads.submit(migrate, migrating, queue_schema(), queue_migrations())
        waits = "select cardinality(pg_blocking_pids(%s)) > 0"
        eventually(lambda: watching.execute(waits, [migrating.info.backend_pid]).fetchone() == (True,))
        for table in ("jobs", "workflows", "workflow_list", "attempt_history", "events"):
            working.execute(f"lock table workflow.{table} in share update exclusive mode")
        working.commit()
        assert migration.result() == again


def test_what_procrastinate_made_is_as_it_made_it(engine: Engine) -> None:
    """Our indexes and settings are on our own table."""
    indexes = engine.rows("select indexname from pg_indexes where tablename = 'procrastinate_jobs'")
    assert [row["indexname"] for row in indexes if "procrastinate" not in row["indexname"]] == []
    assert engine.value("select reloptions from pg_class where oid = 'procrastinate_jobs'::regclass") is None


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        (
            "function",
            "select oid::regprocedure::text as name from pg_proc where pronamespace = 'workflow'::regnamespace"
            " and obj_description(oid, 'pg_proc') is null",
        ),
        (
            "table or view",
            "select oid::regclass::text as name from pg_class where relnamespace = 'workflow'::regnamespace"
            " and relkind in ('r', 'v') and not relispartition and relname <> 'migrations'"
            " and obj_description(oid, 'pg_class') is null",
        ),
    ],
)
def test_everything_in_the_schema_says_what_it_is(engine: Engine, kind: str, query: str) -> None:
    assert [row["name"] for row in engine.rows(query)] == [], f"{kind} without a COMMENT"


def test_every_plpgsql_function_fixes_its_search_path(engine: Engine) -> None:
    assert (
        engine.rows(
            "select p.oid::regprocedure::text from pg_proc p join pg_language l on l.oid = p.prolang"
            " where p.pronamespace = 'workflow'::regnamespace and l.lanname = 'plpgsql'"
            " and not coalesce(p.proconfig, '{}') @> array['search_path=public, pg_temp']"
        )
        == []
    )


def test_no_sweep_is_compiled(engine: Engine) -> None:
    """Before PostgreSQL 18 the only plan, if it is forbidden, costs so much that it is compiled, at each call."""
    assert (
        engine.rows(
            "select proname from pg_proc where pronamespace = 'workflow'::regnamespace"
            " and (starts_with(proname, 'sweep_') or proname in ('live_workers', 'orphaned_tasks', 'recover_orphaned'))"
            " and 'enable_seqscan=off' = any(proconfig) and not 'jit=off' = any(proconfig)"
        )
        == []
    )


def test_no_function_has_two_forms(engine: Engine) -> None:
    """An old signature that a migration forgot to drop would make calls ambiguous."""
    assert (
        engine.rows(
            "select proname from pg_proc where pronamespace = 'workflow'::regnamespace group by 1 having count(*) > 1"
        )
        == []
    )


def test_workers_of_the_version_before_are_answered_as_all_others(engine: Engine) -> None:
    engine.define({"a": {"refs": ["a"]}})
    engine.start_many([{"name": "flow"}] * 2)
    new = engine.turn(want=1)
    arguments = [engine.worker_id, ["default"], ["noop"]]
    old = engine.value("select workflow.turn(%s, null, %s, %s, 1, 30)", *arguments)
    assert old.keys() == new.keys()
    assert {**old, "claims": None} == {**new, "claims": None}
    assert old["claims"][0].keys() == new["claims"][0].keys()
    engine.forget_work()


def test_a_claim_has_no_field_that_workers_of_the_first_version_do_not_know(engine: Engine) -> None:
    """They build an object of it and die of one more; while an upgrade is rolled out, they still run."""
    engine.define({"a": {"uses_input": True}, "b": {"after": ["a"], "refs": ["a"]}})
    engine.start(labels={"x": "y"})
    (first,) = engine.claim()
    (second,) = engine.claims_of(engine.turn([first.succeeded()], want=1))
    for claim in (first, second):
        assert set(claim.raw) == {
            "task_id", "workflow_id", "workflow_name", "workflow_version", "version_id", "step_index", "attempt",
            "tries", "lease_token", "wait_seconds", "elapsed_seconds", "timeout", "timeout_is_override", "labels",
            "workflow_started_at", "input", "steps",
        }  # fmt: skip
