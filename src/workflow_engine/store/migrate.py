"""Brings a database to the present schema: the queue's tables, the migrations, then functions, views and comments.

Migrations run once and are never edited; the rest is the current text, applied again when any of it changed.
Everything happens in one transaction under an advisory lock, so that engines starting together do it once. Then, while
everybody works, come the partitions of the next days and the indexes that are missing on large tables.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import time
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

_ADVISORY_LOCK = 0x776F726B666C6F77  # "workflow"
_BUILD_LOCK = 0x776F726B696E6478  # "workindx"
CURRENT = "functions and views"
"""The name under which the current text of both is known."""

_LOCK_SECONDS = 0.4  # Postgres looks for deadlocks after a second


def sql_directory() -> Path:
    """Where the SQL files are: inside the installed package, or beside `src/` in a checkout."""
    packaged = Path(str(resources.files("workflow_engine"))) / "_sql"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "sql"


def migrate(connection: psycopg.Connection, schema: str, migrations: Iterable[tuple[str, str]]) -> list[str]:
    """Bring the database of `connection` to the present schema.

    Args:
        connection: Owner of the schema; not inside a transaction.
        schema: The queue's whole schema, for a database that has none.
        migrations: Name and SQL of the queue's own migrations, oldest first.

    Returns:
        What was applied, in order; empty when the database was up to date.
    """
    applied: list[str] = []
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [_ADVISORY_LOCK])
        connection.execute("set local client_min_messages = warning")
        connection.execute("set local statement_timeout = 0")  # of the role, for those who work
        connection.execute("set local check_function_bodies = off")  # functions may name later ones
        # A role named `workflow` would else get the queue's tables into the schema of that name.
        connection.execute("set local search_path = public")
        connection.execute("create schema if not exists workflow")
        connection.execute(
            "create table if not exists workflow.migrations"
            " (name text primary key, checksum text not null, applied_at timestamptz not null default now())"
        )
        known: dict[str, str] = dict(connection.execute("select name, checksum from workflow.migrations").fetchall())
        missing = [path for path in _migrations() if path.stem not in known]
        if missing or known.get(CURRENT) != _checksum(_current_text()):
            _lock_tables(connection)
        applied += _apply_queue(connection, known, schema, list(migrations))
        for path in missing:
            _apply(connection, path.stem, path.read_text())
            applied.append(path.stem)
        applied += _apply_current(connection, known)
        applied += _ensure_step_role(connection)
        _renew_access(connection, changed=bool(applied))
    _make_partitions(connection)
    return applied + _build_indexes(connection)


def not_applied(connection: psycopg.Connection[Any]) -> list[str]:
    """What `migrate` of this version would apply to the database of `connection`, apart from the queue's own."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute("select to_regclass('workflow.migrations') is not null")
        if cursor.fetchone() != (True,):
            return ["everything"]
        known: dict[str, str] = dict(cursor.execute("select name, checksum from workflow.migrations").fetchall())
    missing = [path.stem for path in _migrations() if path.stem not in known]
    return missing if known.get(CURRENT) == _checksum(_current_text()) else [*missing, CURRENT]


def _lock_tables(connection: psycopg.Connection) -> None:
    """Lock what processes of the version before use, all of it, before migrations would do so one after the other.

    Whoever works takes these locks in another order. So they are waited for less long than Postgres waits before it
    looks for deadlocks, and if one of them is not to be had, all are given back for a moment: no transaction is ended.
    """
    tables = connection.execute(
        "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = 'workflow' and c.relkind in ('r', 'p', 'v') and not c.relispartition"
        " or c.oid = to_regclass('public.procrastinate_jobs')"
        # Most transactions begin with workflows: once these are locked, the others are free soon.
        " order by c.relname <> 'workflow_list', c.relkind <> 'v', c.relname <> 'workflows', c.relname"
    ).fetchall()
    lock = sql.SQL("lock table {} in access exclusive mode").format(
        sql.SQL(", ").join(sql.Identifier(*table) for table in tables)
    )
    while True:
        try:
            with connection.transaction():
                connection.execute(f"set local lock_timeout = '{_LOCK_SECONDS}s'")
                connection.execute(lock)
                connection.execute("set local lock_timeout to default")
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            time.sleep(random.uniform(0.2, 1))  # noqa: S311
        else:
            return


def _make_partitions(connection: psycopg.Connection) -> None:
    """Partitions for the next days: an engine that leads makes further ones.

    Not in the transaction of the migrations, as it may look through tables, which hinders nobody.
    """
    while True:
        answer = connection.execute("select workflow.keep_partitions()").fetchone()
        if not answer or not (answer[0]["made"] or answer[0]["drained"]):
            return


_VALID = (
    "select i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid"
    " where c.relnamespace = 'workflow'::regnamespace and c.relname = %s"
)


def _build_indexes(connection: psycopg.Connection) -> list[str]:
    """The indexes of `indexes/` that are not there: each takes as long as its table is large, and keeps nobody waiting.

    One that a process left half built is made anew. Returns what was built.
    """

    def is_valid(name: str) -> bool | None:
        row = connection.execute(_VALID, [name]).fetchone()
        return bool(row[0]) if row else None

    built = []
    for path in sorted((sql_directory() / "indexes").glob("*.sql")):
        name = path.stem
        while not is_valid(name):
            # Not waited for in Postgres: who builds waits for all statements that run, also for one that waits for him.
            if connection.execute("select pg_try_advisory_lock(%s)", [_BUILD_LOCK]).fetchone() != (True,):
                time.sleep(random.uniform(0.2, 1))  # noqa: S311
                continue
            connection.execute("set statement_timeout = 0")
            try:
                if is_valid(name) is False:
                    connection.execute(sql.SQL("drop index concurrently workflow.{}").format(sql.Identifier(name)))
                connection.execute(path.read_bytes())
                built.append(f"index {name}")
            finally:
                connection.execute("select pg_advisory_unlock(%s)", [_BUILD_LOCK])
                connection.execute("reset statement_timeout")
    return built


def _apply(connection: psycopg.Connection, name: str, text: str) -> None:
    if text:
        connection.execute(text.encode())
    connection.execute(
        "insert into workflow.migrations (name, checksum) values (%s, %s)"
        " on conflict (name) do update set checksum = excluded.checksum, applied_at = now()",
        [name, _checksum(text)],
    )


def _apply_queue(
    connection: psycopg.Connection, known: dict[str, str], schema: str, migrations: list[tuple[str, str]]
) -> list[str]:
    names = [f"procrastinate/{name}" for name, _ in migrations]
    if not any(name in known for name in names):
        # An empty database gets the whole schema. One that already runs procrastinate is taken to be current.
        present = connection.execute("select to_regclass('procrastinate_jobs') is not null").fetchone()
        if not (present and present[0]):
            connection.execute(schema.encode())
        for name in names:
            _apply(connection, name, "")
        return ["procrastinate"]
    missing = [(name, text) for name, (_, text) in zip(names, migrations, strict=True) if name not in known]
    for name, text in missing:
        _apply(connection, name, text)
    return [name for name, _ in missing]


def _apply_current(connection: psycopg.Connection, known: dict[str, str]) -> list[str]:
    text = _current_text()
    if known.get(CURRENT) == _checksum(text):
        return []
    _apply(connection, CURRENT, text)
    # By default everyone may execute a new function; only those an operator grants may change workflows.
    connection.execute("revoke execute on all functions in schema workflow from public")
    return [CURRENT]


def _renew_access(connection: psycopg.Connection, *, changed: bool) -> None:
    """Grant again what was granted to roles: for what was added since, and for what a restored dump has lost."""
    lost = (
        "select 1 from workflow.access_grants g join pg_roles r on r.rolname = g.role_name"
        " where not has_schema_privilege(r.oid, 'workflow', 'usage')"
    )
    if changed or connection.execute(lost).fetchone():
        connection.execute("select workflow.renew_access()")


def _migrations() -> list[Path]:
    return sorted((sql_directory() / "migrations").glob("*.sql"))


def _current_text() -> str:
    """All functions, views and comments."""
    directory = sql_directory()
    paths = [path for part in ("functions", "views", "comments") for path in sorted((directory / part).glob("*.sql"))]
    return "\n".join(path.read_text() for path in paths)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _ensure_step_role(connection: psycopg.Connection) -> list[str]:
    """The login role of the connection named `engine`; its name and password are kept in `workflow.step_role`.

    Roles belong to the server, not to the database: a restored dump has the row but not the role, so it is made again.
    """
    row = connection.execute("select role_name, password from workflow.step_role").fetchone()
    if row and connection.execute("select 1 from pg_roles where rolname = %s", [row[0]]).fetchone():
        _restore_step_role(connection, *row)
        return []
    rights = connection.execute("select rolcreaterole, rolsuper from pg_roles where rolname = current_user").fetchone()
    may_create, is_superuser = rights or (False, False)
    if not (may_create or is_superuser):
        return []  # transactional steps then say how to set the connection up
    name, password = row or (f"workflow_step_{secrets.token_hex(4)}", secrets.token_urlsafe(24))
    role = sql.Identifier(name)
    hashed = _hashed(connection, name, password)
    connection.execute(sql.SQL("create role {} login password {}").format(role, sql.Literal(hashed)))
    if not is_superuser:
        # To give it its schema, and to dump what steps keep there.
        connection.execute(sql.SQL("grant {} to current_user").format(role))
    connection.execute(sql.SQL("create schema if not exists {} authorization {}").format(role, role))
    _give_schema(connection, name)
    connection.execute(sql.SQL("grant usage on schema workflow to {}").format(role))
    connection.execute(
        sql.SQL("grant execute on function workflow.complete_task(bigint, integer, uuid, jsonb) to {}").format(role)
    )
    if not row:
        connection.execute("insert into workflow.step_role values (%s, %s)", [name, password])
    return [f"role {name}"]


_OWN_ALL = """
    select format('alter schema %%I owner to %%1$I', n.nspname) from pg_namespace n where n.nspname = %(name)s
    union all
    select format('alter %%s %%s owner to %%I', case c.relkind when 'S' then 'sequence' else 'table' end,
                  c.oid::regclass, %(name)s::text)
    from pg_class c
    where c.relnamespace = to_regnamespace(quote_ident(%(name)s)) and c.relkind in ('r', 'p', 'v', 'm', 'S')
      and not exists (  -- the sequence of a column goes with its table
          select from pg_depend d where d.objid = c.oid and c.relkind = 'S' and d.deptype in ('a', 'i'))
    union all
    select format('alter routine %%s owner to %%I', p.oid::regprocedure, %(name)s::text)
    from pg_proc p where p.pronamespace = to_regnamespace(quote_ident(%(name)s))
"""


def _give_schema(connection: psycopg.Connection, name: str) -> None:
    """Give a role the schema of its name with all there is in it: in a restored dump it is somebody else's."""
    for (statement,) in connection.execute(_OWN_ALL.encode(), {"name": name}).fetchall():
        connection.execute(statement.encode())


def _restore_step_role(connection: psycopg.Connection, name: str, password: str) -> None:
    """Undo what a step may have done to its own role: Postgres lets everybody change his password and his settings."""
    role = sql.Identifier(name)
    database = sql.Identifier(connection.info.dbname)
    hashed = sql.Literal(_hashed(connection, name, password))
    try:
        with connection.transaction():
            connection.execute(sql.SQL("alter role {} login password {}").format(role, hashed))
            connection.execute(sql.SQL("alter role {} reset all").format(role))
            connection.execute(sql.SQL("alter role {} in database {} reset all").format(role, database))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InternalError_):
        return  # it is somebody else's to alter, or altered at this moment for another database of the server


def _hashed(connection: psycopg.Connection, name: str, password: str) -> str:
    """A password as Postgres keeps it: a server that logs statements does not learn it."""
    return connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
