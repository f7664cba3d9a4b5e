"""Wires the parts together; every process starts here."""

from __future__ import annotations

import psycopg

from workflow_engine.errors import StoreUnavailable
from workflow_engine.queue.schema import queue_migrations, queue_schema
from workflow_engine.store import migrate as store_migrate


def migrate(database_url: str) -> list[str]:
    """Bring a database to the present schema; safe to run from several processes at once.

    Returns:
        What was applied, in order; empty when the database was up to date.

    Raises:
        StoreUnavailable: The database cannot be reached.
    """
    try:
        with psycopg.connect(database_url, autocommit=True, application_name="workflow-engine migrate") as connection:
            return store_migrate.migrate(connection, queue_schema(), queue_migrations())
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"Postgres cannot be reached: {error}", hint="Check DATABASE_URL.") from error
