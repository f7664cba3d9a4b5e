"""The servers a test run uses: embedded ones, given ones, or containers.

embedded (default)                  started from the bundled programs when the first test needs them
WORKFLOW_TEST_DATABASE_URL          a given PostgreSQL; its role must be allowed to create databases
WORKFLOW_TEST_REDIS_URL             a given Redis or Valkey; keys in it may be overwritten
WORKFLOW_TEST_BACKEND=docker        containers; WORKFLOW_TEST_POSTGRES_IMAGE (postgres:18) and
                                    WORKFLOW_TEST_REDIS_IMAGE (valkey/valkey:9) choose them

What was asked for and is missing ends the run: a test that was skipped looks too much like one that passed.
"""

import os
import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from workflow_engine.embedded.binaries import find_postgres, find_valkey, server_version
from workflow_engine.embedded.places import temporary_data_directory
from workflow_engine.embedded.postgres import Postgres
from workflow_engine.embedded.valkey import Valkey

# What is lost with the machine is of no use to anybody. A killed server still has everything when it starts again.
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "256MB"}

DATABASE_URL = "WORKFLOW_TEST_DATABASE_URL"
REDIS_URL = "WORKFLOW_TEST_REDIS_URL"
BACKEND = "WORKFLOW_TEST_BACKEND"
POSTGRES_IMAGE = "WORKFLOW_TEST_POSTGRES_IMAGE"
REDIS_IMAGE = "WORKFLOW_TEST_REDIS_IMAGE"


class Server(Protocol):
    """One server of a run: what the header says of it, and its URL once something needs it."""

    description: str

    def start(self) -> str:
        """Start it if it is ours to start, and return its URL."""

    def stop(self) -> None: ...


class Embedded:
    """A server of our own, in a directory that is removed afterwards."""

    def __init__(self, description: str, make: Callable[[Path], Postgres | Valkey]) -> None:
        self.description = f"embedded {description}"
        self._make = make
        self._running = ExitStack()

    def start(self) -> str:
        directory = temporary_data_directory()
        self._running.callback(shutil.rmtree, directory, ignore_errors=True)
        return self._running.enter_context(self._make(directory)).url

    def stop(self) -> None:
        self._running.close()


class Given:
    """A server someone else runs."""

    def __init__(self, description: str, url: str) -> None:
        self.description = description
        self._url = url

    def start(self) -> str:
        return self._url

    def stop(self) -> None:
        """It is not ours to stop."""


class Container:
    """A server in a container of our own."""

    def __init__(self, image: str, make: Callable[[], tuple[object, Callable[[], str]]]) -> None:
        self.description = f"container {image}"
        self._make = make
        self._running = ExitStack()

    def start(self) -> str:
        container, url = self._make()
        self._running.enter_context(container)
        return url()

    def stop(self) -> None:
        self._running.close()


def choose_postgres() -> Server:
    """Raises: pytest.UsageError: What was asked for is not there."""
    if url := os.environ.get(DATABASE_URL):
        return _given_postgres(url)
    if _docker_is_wanted():
        image = os.environ.get(POSTGRES_IMAGE, "postgres:18")
        return Container(image, lambda: _postgres_container(image))
    return Embedded(f"PostgreSQL {find_postgres().version}", lambda place: Postgres(place, settings=_SETTINGS))


def choose_redis() -> Server:
    """Raises: pytest.UsageError: What was asked for is not there."""
    if url := os.environ.get(REDIS_URL):
        return _given_redis(url)
    if _docker_is_wanted():
        image = os.environ.get(REDIS_IMAGE, "valkey/valkey:9")
        return Container(image, lambda: _redis_container(image))
    program = find_valkey()
    return Embedded(f"{program.name} {server_version(program)}", Valkey)


def _given_postgres(url: str) -> Server:
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            (version,) = connection.execute("SHOW server_version").fetchone() or ("?",)
    except psycopg.Error as error:
        raise pytest.UsageError(f"{DATABASE_URL}: {error}") from error
    return Given(f"given PostgreSQL {version} at {urlsplit(url).hostname}", url)


def _given_redis(url: str) -> Server:
    import redis

    try:
        with redis.Redis.from_url(url, socket_timeout=5) as client:
            facts = client.info("server")
    except redis.RedisError as error:
        raise pytest.UsageError(f"{REDIS_URL}: {error}") from error
    kind = "Valkey" if "valkey_version" in facts else "Redis"
    version = facts.get("valkey_version") or facts["redis_version"]
    parts = urlsplit(url)
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):  # one of several that share this server: a database of its own
        url = urlunsplit(parts._replace(path=f"/{worker.removeprefix('gw')}"))
    return Given(f"given {kind} {version} at {parts.hostname}", url)


def _docker_is_wanted() -> bool:
    wanted = os.environ.get(BACKEND, "embedded")
    if wanted not in {"embedded", "docker"}:
        raise pytest.UsageError(f"{BACKEND}={wanted!r}: must be embedded or docker")
    if wanted == "embedded":
        return False
    try:
        import docker
        import docker.errors
    except ImportError as error:
        raise pytest.UsageError(f"{BACKEND}=docker: {error}") from error
    try:
        docker.from_env(timeout=5).ping()
    except docker.errors.DockerException as error:
        raise pytest.UsageError(f"{BACKEND}=docker, but no engine answers: {error}") from error
    return True


def _postgres_container(image: str) -> tuple[object, Callable[[], str]]:
    from testcontainers.community.postgres import PostgresContainer

    container = PostgresContainer(image, username="workflow", password="workflow", dbname="workflow", driver=None)
    return container, container.get_connection_url


def _redis_container(image: str) -> tuple[object, Callable[[], str]]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    container = DockerContainer(image).with_exposed_ports(6379)
    container.waiting_for(LogMessageWaitStrategy("Ready to accept connections"))

    def url() -> str:
        host = socket.gethostbyname(container.get_container_host_ip())
        return f"redis://{host}:{container.get_exposed_port(6379)}/0"

    return container, url
