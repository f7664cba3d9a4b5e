"""Wires the parts together; every process starts here."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import make_conninfo

from workflow_engine.errors import SettingsInvalid, StoreUnavailable
from workflow_engine.patience import PING_SECONDS, answered_within
from workflow_engine.queue.schema import queue_migrations, queue_schema
from workflow_engine.settings import Settings
from workflow_engine.store import migrate as store_migrate
from workflow_engine.store.pool import NOT_GRANTED, Pool
from workflow_engine.store.store import Store

if TYPE_CHECKING:
    from workflow_engine.handlers.registry import Registry

_CONNECT_SECONDS = 10
_LOOK_SECONDS = 1.0
_OTHER_TEXT_SECONDS = 30.0


def migrate(database_url: str, grants: Sequence[tuple[str, str]] = ()) -> list[str]:
    """Bring a database to the present schema; safe to run from several processes at once.

    Args:
        database_url: Of the role that owns the schema.
        grants: Roles, and the access that each gets (`workflow.grant_access`), once the schema is there.

    Returns:
        What was applied, in order; empty when the database was up to date.

    Raises:
        StoreUnavailable: The database cannot be reached.
        SettingsInvalid: There is no such role or access.
    """
    try:
        with psycopg.connect(
            database_url,
            autocommit=True,
            application_name="workflow-engine migrate",
            connect_timeout=_CONNECT_SECONDS,
            target_session_attrs="read-write",
        ) as connection:
            applied = store_migrate.migrate(connection, queue_schema(), queue_migrations())
            for grant in grants:
                try:
                    connection.execute("select workflow.grant_access(%s, %s)", grant)
                except (psycopg.errors.UndefinedObject, psycopg.errors.InvalidParameterValue) as error:
                    raise SettingsInvalid(error.diag.message_primary, hint=error.diag.message_hint) from error
            return applied
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"Postgres cannot be reached: {error}", hint="Check DATABASE_URL.") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise StoreUnavailable(
            f"Postgres does not allow it: {error.diag.message_primary}.",
            hint="`migrate` needs the role that owns the schema: docs/operations.md.",
        ) from error


def wait_until_migrated(
    database_url: str, *, say: Callable[[str], None], patience: float = _OTHER_TEXT_SECONDS
) -> None:
    """Wait until somebody has brought the database to where this version can work with it; changes nothing.

    That is waited for without an end: a database that is away, or without our tables, helps nobody. Functions and views
    of another version are waited for briefly: they are about to be replaced by ours, or of a newer one, with which this
    version works as well.

    Args:
        database_url: Of a role that may read `workflow.migrations`.
        say: Told what is waited for, each time that this changes.
        patience: Seconds that other functions and views are waited for.

    Raises:
        StoreUnavailable: The role may not look.
    """
    said, until = "", 0.0
    while missing := _missing(database_url):
        if missing != [store_migrate.CURRENT]:
            until = 0.0
        elif not until:
            until = time.monotonic() + patience
        elif time.monotonic() >= until:
            say("Functions and views are those of another version, which is taken to be newer: going on.")
            return
        if (waiting := f"Waiting for: {', '.join(missing)}") != said:
            say(said := waiting)
        time.sleep(_LOOK_SECONDS)
    say("The database is up to date.")


def _missing(database_url: str) -> list[str]:
    try:
        with psycopg.connect(
            database_url, autocommit=True, application_name="workflow-engine migrate", connect_timeout=_CONNECT_SECONDS
        ) as connection:
            return store_migrate.not_applied(connection)
    except psycopg.OperationalError as error:
        return [f"Postgres ({str(error).strip()})"]
    except psycopg.Error as error:
        raise StoreUnavailable(
            f"Postgres does not say what is applied: {str(error).strip()}",
            hint=NOT_GRANTED,
        ) from error


@asynccontextmanager
async def open_store(settings: Settings, name: str, *, size: int = 10) -> AsyncIterator[Store]:
    """Postgres for one process. Connecting goes on in the background: Postgres may still be away.

    Args:
        settings: `DATABASE_URL` is used.
        name: Shown in `pg_stat_activity.application_name`.
        size: Most connections at once.
    """
    pool = Pool(settings.database_url, name=name, size=size, shared=bool(settings.direct_database_url))
    await pool.open()
    try:
        yield Store(pool)
    finally:
        await pool.close()


@asynccontextmanager
async def load_handlers(settings: Settings) -> AsyncIterator[Registry]:
    """Everything a worker can run: the built-in types, installed packages and the modules of `WORKFLOW_INCLUDE`.

    Raises:
        HandlerInvalid: A module cannot be loaded, or two handlers want the same type.
    """
    # Only workers load handlers; the API and `migrate` start without them.
    from workflow_engine.execution import ORCHESTRATED
    from workflow_engine.handlers.builtin import builtin_handlers, make_http_client
    from workflow_engine.handlers.connections import Connections
    from workflow_engine.handlers.registry import Registry

    connections = Connections(
        settings.connections,
        engine=lambda: step_connection(settings.session_database_url),
        strict=settings.env != "development",
    )
    async with make_http_client(settings) as http, connections:
        registry = Registry(
            builtin_handlers(settings, http=http, connections=connections),
            reserved=ORCHESTRATED,
            threads=settings.worker_concurrency,
        )
        try:
            registry.load_entry_points()
            for module in settings.include_modules:
                registry.include(module)
            yield registry
        finally:
            registry.close()


async def step_connection(database_url: str) -> str | None:
    """Where the connection named `engine` leads: the engine's database, as a role that may only complete tasks.

    Returns:
        A DSN, or None when `migrate` was not allowed to create the role.

    Raises:
        StoreUnavailable: The database cannot be reached.
    """
    try:
        async with await psycopg.AsyncConnection.connect(
            database_url, autocommit=True, connect_timeout=_CONNECT_SECONDS
        ) as connection:
            with answered_within(connection, PING_SECONDS):
                row = await (await connection.execute("select role_name, password from workflow.step_role")).fetchone()
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"Postgres cannot be reached: {error}") from error
    return make_conninfo(database_url, user=row[0], password=row[1]) if row else None
