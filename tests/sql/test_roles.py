"""Roles of the database: each access is enough for what it is for, and for nothing else."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from . import wild
from .connections import Connection
from .engine import Engine
from .roles import connection_as, role_with
from .test_access import create
from .test_mixed import Game, assert_within_capacity, define

SECRET_TABLES = ("workflow.step_role", "workflow.api_keys")
CLOSED_TO_READERS = (*SECRET_TABLES, "workflow.api_key_list", "workflow.audit", "workflow.audit_list")
WORKERS_MOVES = {"turn", "heartbeat", "repeat"}
GAMES = 3
STEPS = 80


@pytest.fixture
def granted(engine: Engine, database: str) -> Iterator[Callable[[str], Connection]]:
    """`granted(access)` is a connection as a new role with that access."""
    with ExitStack() as stack:
        yield lambda access: stack.enter_context(
            connection_as(database, stack.enter_context(role_with(engine, access)))
        )


def test_a_worker_and_an_engine_do_all_they_do_in_roles_that_may_no_more(
    engine: Engine, granted: Callable[[str], Connection]
) -> None:
    """The game of everything in any order, in which workers are in one role and operators and the leader in another."""
    define(engine)
    wild.define_all(engine)
    operator, worker = Engine(granted("engine")), Engine(granted("worker"))
    for _ in range(GAMES):
        engine.forget_work()
        game = Game([operator, worker], random.randrange(10**6))
        try:
            for _ in range(STEPS):
                name = game.chance.choices(list(game.moves), [weight for weight, _ in game.moves.values()])[0]
                player = worker if name in WORKERS_MOVES else operator
                game.history.append(f"{name} in the role of {'a worker' if player is worker else 'an engine'}")
                for each in (operator, worker):
                    each.set_clock(f"{game.minutes} minutes")
                game.make(game.moves[name][1], player)
                game.know()
            game.end()
            assert_within_capacity(engine)
        except BaseException as error:
            error.add_note("\n".join(game.history[:1] + game.history[-20:]))
            raise
    engine.set_clock("0")


@pytest.mark.parametrize("access", ["engine", "worker", "reader", "auditor", "scaler"])
def test_no_access_reads_what_logs_somebody_in(
    engine: Engine, granted: Callable[[str], Connection], access: str
) -> None:
    """Whatever a role may read, also what comes with later migrations: secrets that were planted are not in it."""
    engine.run("delete from workflow.api_keys")
    create(engine, p_hash=b"\xca\xfe" * 16)
    secrets = [engine.value("select password from workflow.step_role"), "cafe" * 16]
    role = granted(access)
    if access == "worker":
        secrets.remove(secrets[0])  # it logs in as that role, for transactional steps
    if access == "engine":
        secrets.remove(secrets[-1])  # it compares the hashes that callers show
    relations = role.execute(
        "select c.oid::regclass::text as name from pg_class c where c.relnamespace = 'workflow'::regnamespace"
        " and c.relkind in ('r', 'p', 'v') and has_table_privilege(c.oid, 'select')"
    ).fetchall()
    assert relations
    for relation in relations:
        found = role.execute(f"select to_jsonb(x)::text as row from {relation['name']} x".encode()).fetchall()
        for secret in secrets:
            assert not [row for row in found if secret in row["row"]], relation["name"]
    engine.run("delete from workflow.api_keys")


_WRITABLE = """
    select c.oid::regclass::text as name from pg_class c
    where c.relnamespace in ('workflow'::regnamespace, 'public'::regnamespace)
      and case when c.relkind in ('r', 'p', 'v')
               then has_table_privilege(c.oid, 'insert, update, delete, truncate, references, trigger')
               when c.relkind = 'S' then has_sequence_privilege(c.oid, 'usage, update') end
    union all
    select p.oid::regprocedure::text from pg_proc p
    where p.pronamespace = 'workflow'::regnamespace and p.prosecdef and has_function_privilege(p.oid, 'execute')
"""


@pytest.mark.parametrize("access", ["reader", "auditor", "scaler"])
def test_who_looks_has_no_right_to_change_anything(
    engine: Engine, granted: Callable[[str], Connection], access: str
) -> None:
    role = granted(access)
    assert role.execute(_WRITABLE.encode()).fetchall() == []
    assert role.execute("select has_schema_privilege('workflow', 'create') as it").fetchone() == {"it": False}


@pytest.mark.parametrize(
    ("access", "statement"),
    [
        *[("reader", f"select * from {table}") for table in (*CLOSED_TO_READERS, "workflow.idempotency_keys")],
        *[("auditor", f"select * from {table}") for table in SECRET_TABLES],
        ("reader", "select workflow.cancel(gen_random_uuid())"),
        ("reader", "select workflow.pause()"),
        ("scaler", "select * from workflow.workflow_list"),
        ("worker", "select * from workflow.api_keys"),
        ("worker", "select * from workflow.audit"),
        ("worker", "update workflow.definition_versions set plan = '{}'"),
        ("worker", "insert into workflow.definitions (name) values ('mine')"),
        ("worker", "update workflow.engine set paused_at = now()"),
        ("worker", "select workflow.create_api_key('abcdefgh0123', 'me', '{admin}', '{}', '\\x00')"),
        ("engine", "select workflow.create_api_key('abcdefgh0123', 'me', '{admin}', '{}', '\\x00')"),
        (
            "engine",
            "insert into workflow.api_keys (id, name, roles, hash, created_at) values ('x', 'x', '{admin}', '', now())",
        ),
        ("engine", "update workflow.api_keys set roles = '{admin}'"),
        ("engine", "update workflow.audit set principal = 'somebody else'"),
        ("engine", "select * from workflow.step_role"),
        ("engine", "select workflow.grant_access(current_user::text, 'auditor')"),
        ("engine", "drop table workflow.workflows"),
        ("engine", "truncate workflow.workflows"),
        ("engine", "create table workflow.mine (n integer)"),
    ],
)
def test_is_refused(granted: Callable[[str], Connection], access: str, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        granted(access).execute(statement.encode())


def test_a_scaler_reads_the_numbers_of_the_queues(engine: Engine, granted: Callable[[str], Connection]) -> None:
    engine.define({"a": [], "b": []})
    engine.start()
    role = granted("scaler")
    load = "select coalesce(sum(pending + running), 0)::integer as load from workflow.queue_depth"
    assert role.execute(load.encode()).fetchone() == {"load": 2}


def test_what_is_granted_twice_and_revoked_is_gone(engine: Engine, database: str) -> None:
    with role_with(engine, "reader", "auditor", "reader") as name, connection_as(database, name) as role:
        role.execute("select * from workflow.audit_list")
        engine.run("select workflow.revoke_access(%s)", name)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            role.execute("select * from workflow.workflow_list")
        engine.run("select workflow.revoke_access('nobody of this name')")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("nobody of this name", "reader"), "There is no role"), (("pg_monitor", "god"), "There is no access")],
)
def test_what_is_not_there_is_refused_with_what_to_do(engine: Engine, arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(psycopg.Error, match=said) as error:
        engine.run("select workflow.grant_access(%s, %s)", *arguments)
    assert error.value.diag.message_hint
