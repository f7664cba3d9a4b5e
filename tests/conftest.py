"""Fixtures of every test: a database of its own on a real PostgreSQL, a real Redis, settings that name both."""

import os
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql
from support.backends import Server, choose_postgres, choose_redis

from workflow_engine.settings import Settings, load_settings

_POSTGRES = pytest.StashKey[Server]()
_REDIS = pytest.StashKey[Server]()


def pytest_configure(config: pytest.Config) -> None:
    os.environ["LOG_DIR"] = "off"  # no test, nor a process it starts, writes to the machine's own logs
    # Chosen here, before anything runs, so that a missing back end fails the whole run.
    config.stash[_POSTGRES] = choose_postgres()
    config.stash[_REDIS] = choose_redis()


def pytest_report_header(config: pytest.Config) -> str:
    return f"servers: {config.stash[_POSTGRES].description}, {config.stash[_REDIS].description}"


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of the PostgreSQL server's maintenance database; a role in it may create databases."""
    server = request.config.stash[_POSTGRES]
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis_server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of the Redis server, shared by the whole run; take `redis_url` unless the content does not matter."""
    server = request.config.stash[_REDIS]
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def template_database(server_url: str) -> Iterator[str]:
    """Name of a migrated database that nobody connects to."""
    from workflow_engine.bootstrap import migrate

    name = f"workflow_template_{uuid.uuid4().hex[:12]}"
    roles: list[str] = []
    _administer(server_url, "CREATE DATABASE {}", name)
    try:
        migrate(_with_database(server_url, name))
        roles = _step_roles(_with_database(server_url, name))
        yield name
    finally:
        _administer(server_url, "DROP DATABASE {} WITH (FORCE)", name)
        for role in roles:  # roles belong to the server: a given one would collect them
            _administer(server_url, "DROP ROLE {}", role)


@pytest.fixture
def database_url(server_url: str, template_database: str) -> Iterator[str]:
    """URL of a fresh, migrated database of this test alone."""
    name = f"workflow_test_{uuid.uuid4().hex[:12]}"
    _administer(server_url, "CREATE DATABASE {} TEMPLATE {}", name, template_database)
    try:
        yield _with_database(server_url, name)
    finally:
        _administer(server_url, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """URL of a fresh database without our schema, for tests of the migrations themselves."""
    name = f"workflow_empty_{uuid.uuid4().hex[:12]}"
    _administer(server_url, "CREATE DATABASE {}", name)
    try:
        yield _with_database(server_url, name)
    finally:
        _administer(server_url, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def redis_url(redis_server_url: str) -> str:
    """URL of a Redis database that was emptied before this test."""
    import redis

    with redis.Redis.from_url(redis_server_url) as client:
        client.flushdb()
    return redis_server_url


@pytest.fixture
def settings(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that name this test's servers. Change one with `load_settings(DATABASE_URL=..., ...)`."""
    return load_settings(DATABASE_URL=database_url, REDIS_URL=redis_url)


def _administer(server_url: str, statement: str, *names: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*(sql.Identifier(name) for name in names)))


def _step_roles(database_url: str) -> list[str]:
    with psycopg.connect(database_url) as connection:
        return [name for (name,) in connection.execute("SELECT role_name FROM workflow.step_role")]


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
