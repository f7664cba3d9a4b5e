"""Databases of the test server, made and dropped."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql


@contextmanager
def new_database(server_url: str, purpose: str, *, template: str | None = None) -> Iterator[str]:
    """URL of a database that lives as long as the context; a clone of `template`, to which nobody is connected."""
    name = f"workflow_{purpose}_{uuid.uuid4().hex[:12]}"
    if template is None:
        administer(server_url, "CREATE DATABASE {}", name)
    else:
        # The files are copied as they are: to have them written to the WAL as well, and checkpointed, takes longer.
        administer(server_url, "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, template)
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        administer(server_url, "DROP DATABASE {} WITH (FORCE)", name)


def administer(server_url: str, statement: str, *names: str) -> None:
    """Run a statement about databases or roles, with names in the place of its `{}`."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))  # type: ignore[arg-type]
