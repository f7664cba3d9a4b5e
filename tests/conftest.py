"""Fixtures of every test: a database of its own on a real PostgreSQL, a real Redis, settings that name both."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from support.backends import Server, choose_postgres, choose_redis
from support.databases import administer, new_database
from support.quick_place import make_quick_place
from support.scheduling import Scheduling, longest_first

from workflow_engine.settings import Settings, load_settings

_POSTGRES = pytest.StashKey[Server]()
_REDIS = pytest.StashKey[Server]()
_PLACE = pytest.StashKey[Path | None]()


def pytest_configure(config: pytest.Config) -> None:
    os.environ["LOG_DIR"] = "off"  # no test, nor a process it starts, writes to the machine's own logs
    # What is imported is compiled once: starting an engine would take twice as long otherwise.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # Other work on the machine must not fail a test of properties.
    hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    hypothesis_settings.load_profile("patient")
    # Chosen here, before anything runs, so that a missing back end fails the whole run.
    config.stash[_POSTGRES] = choose_postgres()
    config.stash[_REDIS] = choose_redis()
    config.stash[_PLACE] = make_quick_place()


def pytest_unconfigure(config: pytest.Config) -> None:
    if place := config.stash.get(_PLACE, None):
        shutil.rmtree(place, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = longest_first(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    return Scheduling(config, log)


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

    roles: list[str] = []
    try:
        with new_database(server_url, "template") as url:
            migrate(url)
            roles = _step_roles(url)
            yield urlsplit(url).path.removeprefix("/")
    finally:
        for role in roles:  # roles belong to the server: a given one would collect them
            administer(server_url, "DROP ROLE {}", role)


@pytest.fixture
def database_url(server_url: str, template_database: str) -> Iterator[str]:
    """URL of a fresh, migrated database of this test alone."""
    with new_database(server_url, "test", template=template_database) as url:
        yield url


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """URL of a fresh database without our schema, for tests of the migrations themselves."""
    with new_database(server_url, "empty") as url:
        yield url


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


def _step_roles(database_url: str) -> list[str]:
    with psycopg.connect(database_url) as connection:
        return [name for (name,) in connection.execute("SELECT role_name FROM workflow.step_role")]
