"""Roles of the test server with an access to the database of a test, and connections as them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from .connections import Connection
from .engine import Engine


@contextmanager
def role_with(engine: Engine, *access: str) -> Iterator[str]:
    """Name of a new role; it may log in with its name as the password."""
    name = f"workflow_{'_'.join(access) or 'nobody'}_{uuid.uuid4().hex[:8]}"
    engine.connection.execute(
        sql.SQL("create role {} login password {}").format(sql.Identifier(name), sql.Literal(name))
    )
    try:
        for each in access:
            engine.run("select workflow.grant_access(%s, %s)", name, each)
        yield name
    finally:
        engine.run("select workflow.revoke_access(%s)", name)
        engine.connection.execute(sql.SQL("drop owned by {}").format(sql.Identifier(name)))
        engine.connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@contextmanager
def connection_as(database: str, role: str) -> Iterator[Connection]:
    """Logged in as a role that `role_with` made."""
    with psycopg.connect(
        database, user=role, password=role, autocommit=True, row_factory=dict_row, options="-c lock_timeout=10s"
    ) as connection:
        yield connection


class Onlooker(Engine):
    """A connection of somebody who is no worker."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
