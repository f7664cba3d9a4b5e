"""An engine's leader in this process, with a Valkey that the test may stop, hang, fill and empty."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import psycopg
import pytest
import redis
from psycopg.rows import dict_row

from workflow_engine.bootstrap import open_store
from workflow_engine.definition.compile import compile_definition
from workflow_engine.embedded.places import temporary_data_directory
from workflow_engine.embedded.valkey import Valkey
from workflow_engine.maintenance.leader import run_maintenance
from workflow_engine.mirror.client import Mirror
from workflow_engine.settings import Settings, load_settings
from workflow_engine.store.store import Store


class Lead(Protocol):
    def __call__(self, **changed: Any) -> AbstractAsyncContextManager[None]: ...


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A server of this test alone."""
    directory = temporary_data_directory()
    try:
        with Valkey(directory) as server:
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    """What an operator's redis-cli sees."""
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def own_settings(database_url: str, valkey: Valkey) -> Settings:
    return load_settings(DATABASE_URL=database_url, REDIS_URL=valkey.url)


@pytest.fixture
async def store(own_settings: Settings) -> AsyncIterator[Store]:
    async with open_store(own_settings, "test") as store:
        yield store


@pytest.fixture
async def mirror(valkey: Valkey) -> AsyncIterator[Mirror]:
    """One that gives Redis more time than it has in an engine: on a busy machine nothing answers in 250 ms."""
    mirror = Mirror(valkey.url, timeout=10)
    yield mirror
    await mirror.close()


@pytest.fixture
def lead(database_url: str, valkey: Valkey, store: Store, mirror: Mirror) -> Lead:
    """`async with lead():` an engine that leads."""

    @asynccontextmanager
    async def leading(**changed: Any) -> AsyncIterator[None]:
        settings = load_settings(DATABASE_URL=database_url, REDIS_URL=valkey.url, **changed)
        async with run_maintenance(settings, store, mirror):
            yield

    return leading


class Truth:
    """The database, for the test's own statements."""

    def __init__(self, database_url: str) -> None:
        self.connection = psycopg.connect(database_url, autocommit=True, row_factory=dict_row)

    def rows(self, query: str, *params: Any) -> list[dict[str, Any]]:
        return self.connection.execute(query.encode(), params).fetchall()

    def run(self, query: str, *params: Any) -> None:
        self.connection.execute(query.encode(), params)

    def pending(self, queue: str | None = None) -> list[str]:
        """The ids of the pending tasks that are not held, in order of claims."""
        return [
            row["task"]
            for row in self.rows(
                "select args ->> 'task_id' as task from procrastinate_jobs where status = 'todo'"
                " and (scheduled_at is null or scheduled_at <= workflow.clock())"
                " and queue_name = coalesce(%s, queue_name) order by queue_name, priority desc, id",
                queue,
            )
        ]

    def start(self, name: str = "flow", count: int = 1) -> list[str]:
        """Start workflows of a definition; returns their ids."""
        return [str(self.rows("select workflow.start(%s) as id", name)[0]["id"]) for _ in range(count)]


@pytest.fixture
async def truth(database_url: str, store: Store) -> AsyncIterator[Truth]:
    """With two definitions: `flow`, three steps side by side, and `other` with a step in the queue `slow`."""
    for document in (
        {"name": "flow", "steps": [{"id": name, "type": "noop"} for name in "abc"]},
        {"name": "other", "steps": [{"id": "a", "type": "noop", "queue": "slow"}]},
    ):
        await store.definitions.register(compile_definition(document, task_types={"noop"}))
    truth = Truth(database_url)
    yield truth
    truth.connection.close()
