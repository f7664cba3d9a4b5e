"""What we rely on in procrastinate's schema, and what readers rely on in ours."""

import pytest

from .engine import Engine

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


def test_jobs_are_deferred_in_array_order_and_their_ids_returned_in_it(engine: Engine) -> None:
    queues = [f"q{n % 7}" for n in range(500)]
    ids = engine.value(
        "select procrastinate_defer_jobs_v1(array("
        " select row(q, 'contract', 0, null, null, jsonb_build_object('n', n), null)::procrastinate_job_to_defer_v1"
        " from unnest(%s::text[]) with ordinality as x(q, n) order by n))",
        queues,
    )
    assert ids == sorted(ids)
    stored = {job["id"]: (job["queue_name"], job["args"]["n"]) for job in engine.jobs()}
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


def test_row_to_defer_has_the_fields_we_fill_in_their_order(engine: Engine) -> None:
    fields = engine.rows(
        "select attname from pg_attribute where attrelid = 'procrastinate_job_to_defer_v1'::regclass order by attnum"
    )
    assert [field["attname"] for field in fields] == [
        "queue_name", "task_name", "priority", "lock", "queueing_lock", "args", "scheduled_at",
    ]  # fmt: skip


def test_job_is_born_todo_and_knows_doing(engine: Engine) -> None:
    labels = engine.rows("select enumlabel from pg_enum where enumtypid = 'procrastinate_job_status'::regtype")
    assert {"todo", "doing"} <= {label["enumlabel"] for label in labels}
    engine.define({"a": []})
    engine.start()
    assert [(job["status"], job["task_name"]) for job in engine.jobs()] == [("todo", "workflow:noop")]


def test_new_job_notifies_the_channel_of_its_queue(engine: Engine, other: Engine) -> None:
    other.run('listen "procrastinate_queue_v1#default"')
    engine.define({"a": []})
    engine.start()
    assert len(list(other.connection.notifies(timeout=5, stop_after=1))) == 1


def test_deleted_job_takes_its_events_along(engine: Engine) -> None:
    engine.define({"a": []})
    engine.start()
    assert engine.value("select count(*) from procrastinate_events") == 1
    engine.finish(engine.claim_one().succeeded())
    assert engine.value("select count(*) from procrastinate_events") == 0


@pytest.mark.parametrize("index", ["workflow_ready_idx", "workflow_due_idx"])
def test_our_indexes_on_the_job_table_exist(engine: Engine, index: str) -> None:
    assert engine.value("select to_regclass(%s)::text", index) == index


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
            " and relkind in ('r', 'v') and relname <> 'migrations' and obj_description(oid, 'pg_class') is null",
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
