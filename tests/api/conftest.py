"""A whole engine over real HTTP: uvicorn in a thread, a database per test, and a hand-played worker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx
import psycopg
import pytest
import structlog
import uvicorn
from psycopg.types.json import Jsonb
from support.databases import new_database
from support.eventually import eventually

from workflow_engine.access import Role
from workflow_engine.api.server import server_config
from workflow_engine.asgi import create_app
from workflow_engine.settings import Settings, load_settings

from .keyed import Keyed

NOWHERE = "http://127.0.0.1:9"  # nothing listens there: connections are refused at once


@pytest.fixture(autouse=True)
def _only_warnings_are_logged() -> Iterator[None]:
    # Rich's tracebacks with all local variables take seconds each, in which the engine's loop does nothing else.
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[*structlog.get_config()["processors"][:-1], renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    yield
    structlog.reset_defaults()


@contextmanager
def running_engine(settings: Settings) -> Iterator[httpx.Client]:
    """An engine process' application on a free port; yields a client of it."""
    server = uvicorn.Server(server_config(create_app(settings), settings, port=0))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive())
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def engine_settings(database_url: str, redis_url: str, **more: Any) -> Settings:
    return load_settings(
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        **{
            "HOST": "127.0.0.1",
            "AGENT_MESH_URL": NOWHERE,
            "AGENT_BRAIN_URL": NOWHERE,
            "WORKFLOW_SWEEP_SECONDS": 0.5,
            **more,
        },
    )


@pytest.fixture
def api(database_url: str, redis_url: str) -> Iterator[httpx.Client]:
    """A client of an engine that belongs to this test alone."""
    with running_engine(engine_settings(database_url, redis_url)) as client:
        yield client


@pytest.fixture(scope="session")
def shared_database_url(server_url: str, template_database: str) -> Iterator[str]:
    """A database for the tests whose requests change nothing."""
    with new_database(server_url, "shared", template=template_database) as url:
        yield url


@pytest.fixture(scope="session")
def shared_api(shared_database_url: str, redis_server_url: str) -> Iterator[httpx.Client]:
    """A client of an engine for the tests whose requests change nothing."""
    # It is there to the end of the run, and nothing happens that it would have to sweep.
    settings = engine_settings(shared_database_url, redis_server_url, WORKFLOW_SWEEP_SECONDS=5)
    with running_engine(settings) as client:
        yield client


class PlayedWorker:
    """A worker played by hand: it claims, and ends what it claimed as it is told. It may be a context manager."""

    def __init__(self, database_url: str, name: str = "played") -> None:
        self.connection = psycopg.connect(database_url, autocommit=True)
        self.types = ["http", "agent", "database", "noop", "fail", "transform"]
        self.id = self._value(
            "select workflow.register_worker(%s, 'host', 1, '0', '{default}', %s, 5, 10, q.worker_id)"
            " from procrastinate_register_worker_v1() q",
            name,
            Jsonb([{"name": name} for name in self.types]),
        )

    def _value(self, query: str, *params: Any) -> Any:
        row = self.connection.execute(query.encode(), params).fetchone()
        return row[0] if row else None

    def turn(self, *completions: dict[str, Any], want: int = 0) -> dict[str, Any]:
        answer: dict[str, Any] = self._value(
            "select workflow.turn(%s, %s, '{default}', %s, %s, 30)", self.id, Jsonb(list(completions)), self.types, want
        )
        return answer

    def claim(self, want: int = 100) -> list[dict[str, Any]]:
        claims: list[dict[str, Any]] = self.turn(want=want)["claims"]
        return claims

    def end(self, claim: dict[str, Any], outcome: str = "succeeded", **more: Any) -> None:
        """End an attempt; `output` and `error` may be given."""
        fields = {name: claim[name] for name in ("task_id", "attempt", "lease_token")}
        assert self.turn({**fields, "outcome": outcome, **more})["stale"] == []

    def run_all(self, output: Any = None) -> int:
        """Run everything that is pending, with what follows from it, to success."""
        count = 0
        while claims := self.claim():
            for claim in claims:
                self.end(claim, output=output)
                count += 1
        return count

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self) -> None:
        self._value("select workflow.set_worker_status(%s, 'stopped')", self.id)


@pytest.fixture
def worker(database_url: str) -> Iterator[PlayedWorker]:
    with PlayedWorker(database_url) as played:
        yield played


@pytest.fixture
def written() -> Callable[[str], dict[str, int]]:
    """Counts the rows of everything the API could write."""

    def count(database_url: str) -> dict[str, int]:
        tables = (
            "workflow.definitions", "workflow.definition_versions", "workflow.definition_steps", "workflow.workflows",
            "workflow.tasks", "workflow.events", "workflow.attempt_history", "workflow.idempotency_keys",
            "workflow.records", "procrastinate_jobs",
        )  # fmt: skip
        with psycopg.connect(database_url) as connection:
            counts = {}
            for table in tables:
                row = connection.execute(f"select count(*) from {table}".encode()).fetchone()
                counts[table] = row[0] if row else -1
            return counts

    return count


@pytest.fixture(scope="module")
def keyed(server_url: str, template_database: str, redis_server_url: str) -> Iterator[Keyed]:
    """One engine for all tests that need nothing but keys."""
    with new_database(server_url, "keyed", template=template_database) as url:
        settings = engine_settings(url, redis_server_url, WORKFLOW_AUTH="token")
        with running_engine(settings) as api:
            found = Keyed(api, url)
            yield found
            found.database.close()


@pytest.fixture(scope="module")
def roles(keyed: Keyed) -> dict[str, dict[str, str]]:
    """A header for a key of each role."""
    return {role: keyed.key(f"a-{role}", role) for role in Role}
