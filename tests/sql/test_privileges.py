"""The role of transactional steps may complete a task by its lease token, and nothing else of the engine."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from workflow_engine.bootstrap import migrate

from .engine import Claim, Engine


@pytest.fixture
def step_role(engine: Engine, database: str) -> Iterator[psycopg.Connection[Any]]:
    credentials = engine.rows("select role_name, password from workflow.step_role")[0]
    with psycopg.connect(
        database, user=credentials["role_name"], password=credentials["password"], autocommit=True
    ) as connection:
        yield connection
        connection.execute("drop table if exists work")


def complete(connection: psycopg.Connection[Any], claim: Claim, output: Any = None) -> None:
    connection.execute(
        "select workflow.complete_task(%s, %s, %s, %s)", [claim.task_id, claim.attempt, claim.token, Jsonb(output)]
    )


def only(engine: Engine) -> Claim:
    engine.define({"a": [], "b": ["a"]})
    engine.start()
    return engine.claim_one()


def test_work_and_completion_are_one_commit(engine: Engine, step_role: psycopg.Connection[Any]) -> None:
    claim = only(engine)
    with step_role.transaction():
        step_role.execute("create table work (n integer)")
        step_role.execute("insert into work values (1)")
        complete(step_role, claim, {"rows": 1})
        assert engine.tasks(claim.workflow) == {"a": "running", "b": "blocked"}
    assert engine.tasks(claim.workflow) == {"a": "succeeded", "b": "pending"}
    assert engine.task(claim.workflow, "a")["output"] == {"rows": 1}
    assert step_role.execute("select n from work").fetchall() == [(1,)]


def test_work_that_rolls_back_completes_nothing(engine: Engine, step_role: psycopg.Connection[Any]) -> None:
    claim = only(engine)
    before = engine.snapshot()
    with step_role.transaction():
        complete(step_role, claim)
        raise psycopg.Rollback
    assert engine.snapshot() == before


def test_stale_lease_raises_so_that_the_work_rolls_back(engine: Engine, step_role: psycopg.Connection[Any]) -> None:
    claim = only(engine)
    engine.finish(claim.released())
    step_role.execute("begin")
    step_role.execute("create table work (n integer)")
    with pytest.raises(psycopg.Error) as error:
        complete(step_role, claim)
    step_role.execute("commit")
    assert (error.value.sqlstate, error.value.diag.message_detail) == ("WF410", "stale")
    assert step_role.execute("select to_regclass('work')").fetchone() == (None,)


def test_completion_repeated_after_an_ambiguous_commit_is_accepted(
    engine: Engine, step_role: psycopg.Connection[Any]
) -> None:
    claim = only(engine)
    complete(step_role, claim)
    before = engine.snapshot()
    complete(step_role, claim)
    assert engine.snapshot() == before


@pytest.mark.parametrize("setting", ["workflow.clock_offset = '10 years'", "workflow.clock_time = '2099-01-01'"])
def test_step_cannot_move_the_clock_of_the_engine(
    engine: Engine, step_role: psycopg.Connection[Any], setting: str
) -> None:
    claim = only(engine)
    step_role.execute(f"set {setting}".encode())
    complete(step_role, claim)
    assert engine.value("select max(at) < now() + interval '1 hour' from workflow.events")


@pytest.mark.parametrize("table", ["workflows", "tasks", "definition_versions", "records", "step_role", "task_list"])
@pytest.mark.parametrize("privilege", ["SELECT", "INSERT", "UPDATE", "DELETE"])
def test_step_role_has_no_right_on_a_table_or_view(engine: Engine, table: str, privilege: str) -> None:
    role = engine.value("select role_name from workflow.step_role")
    assert not engine.value("select has_table_privilege(%s, %s, %s)", role, f"workflow.{table}", privilege)


def test_step_role_may_execute_complete_task_and_no_other_function(engine: Engine) -> None:
    role = engine.value("select role_name from workflow.step_role")
    executable = engine.rows(
        "select p.proname as name from pg_proc p where p.pronamespace = 'workflow'::regnamespace"
        " and has_function_privilege(%s, p.oid, 'execute')",
        role,
    )
    assert executable == [{"name": "complete_task"}]


@pytest.mark.parametrize(
    "statement",
    [
        "select * from workflow.tasks",
        "select * from workflow.workflow_list",
        "select password from workflow.step_role",
        "select workflow.cancel(gen_random_uuid())",
        "select workflow.start('flow')",
        "select workflow.settle('{}')",
        "select workflow.clock()",
        "create table workflow.mine (n integer)",
        "create function workflow.mine() returns integer language sql as 'select 1'",
        "select * from procrastinate_jobs",
        "select * from pg_authid",
        "select pg_read_file('/etc/passwd')",
        "select lo_import('/etc/passwd')",
        "copy (select 1) to program 'true'",
        "copy (select 1) to '/tmp/copied'",
        "set role pg_read_all_data",
        "set session authorization pg_read_all_data",
        "create role mine",
        "alter system set fsync = off",
        "create table public.mine (n integer)",
        "create schema mine",
        "select procrastinate_defer_jobs_v1(array[row('q', 't', 0, null, null, '{}', null)]"
        "::procrastinate_job_to_defer_v1[])",
    ],
)
def test_step_role_is_refused(step_role: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        step_role.execute(statement.encode())


def test_migrate_gives_the_step_role_back_what_a_step_took_from_it(
    engine: Engine, database: str, step_role: psycopg.Connection[Any]
) -> None:
    step_role.execute("alter role current_user password 'mine'")
    step_role.execute("alter role current_user set default_transaction_read_only = on")
    credentials = engine.rows("select role_name as user, password from workflow.step_role")[0]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(database, **credentials)
    migrate(database)
    with psycopg.connect(database, **credentials) as connection:
        assert connection.execute("show default_transaction_read_only").fetchone() == ("off",)


def test_nothing_in_the_schema_is_open_to_everyone(engine: Engine) -> None:
    assert (
        engine.rows(
            "select p.oid::regprocedure::text from pg_proc p cross join lateral aclexplode("
            " coalesce(p.proacl, acldefault('f', p.proowner))) a"
            " where p.pronamespace = 'workflow'::regnamespace and a.grantee = 0"
        )
        == []
    )


def test_only_complete_task_and_what_makes_and_drops_partitions_runs_with_the_rights_of_its_owner(
    engine: Engine,
) -> None:
    found = engine.rows(
        "select proname, proconfig @> array['search_path=public, pg_temp'] as fixed_path from pg_proc"
        " where pronamespace = 'workflow'::regnamespace and prosecdef"
    )
    assert {row["proname"] for row in found} == {
        "complete_task", "keep_partitions", "drop_partition", "clean_partition",
    }  # fmt: skip
    assert all(row["fixed_path"] for row in found)
