"""The cache of definitions saves reads of Postgres, decides nothing, and really is cleared by the runbook's DEL."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import psycopg
import pytest
import redis
from support.eventually import eventually

from workflow_engine.embedded.places import temporary_data_directory
from workflow_engine.embedded.valkey import Valkey
from workflow_engine.observability.metrics import ENGINE

from .conftest import engine_settings, running_engine

GENERATION = "workflow:definitions:*"
ENTRY = "workflow:definitions:greeting:1"
DOCUMENT: dict[str, Any] = {
    "name": "greeting",
    "input_schema": {"type": "object", "required": ["who"]},
    "steps": [{"id": "greet", "type": "noop"}],
}


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    directory = temporary_data_directory()
    try:
        with Valkey(directory) as server:
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def engine(database_url: str, valkey: Valkey) -> Iterator[httpx.Client]:
    with running_engine(engine_settings(database_url, valkey.url)) as client:
        assert start(client, DOCUMENT | {"input": {"who": "world"}}).status_code == 202
        yield client


def start(engine: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return engine.post("/api/v1/workflows", json=body)


def read(engine: httpx.Client) -> dict[str, float]:
    """Read the definition by starting it by name; returns what was counted."""
    before = counts()
    assert start(engine, {"name": "greeting", "input": {"who": "world"}}).status_code == 202
    return {name: count - before[name] for name, count in counts().items() if count != before[name]}


def counts() -> dict[str, float]:
    found = {"hit": ENGINE.get_sample_value("workflow_definition_cache_hits_total") or 0.0}
    for reason in ("none", "stale", "wrong", "redis"):
        value = ENGINE.get_sample_value("workflow_definition_cache_misses_total", {"reason": reason})
        found[reason] = value or 0.0
    return found


def test_it_is_read_from_postgres_once_and_again_after_it_was_cleared(
    engine: httpx.Client, client: redis.Redis
) -> None:
    assert read(engine) == {"none": 1}
    assert read(engine) == {"hit": 1}
    assert client.delete(GENERATION) == 1
    assert read(engine) == {"stale": 1}
    assert read(engine) == {"hit": 1}


def test_there_is_something_to_clear_as_soon_as_an_engine_runs(engine: httpx.Client, client: redis.Redis) -> None:
    eventually(lambda: client.exists(GENERATION))
    client.flushall()
    assert eventually(lambda: client.delete(GENERATION)) == 1


def test_another_engine_takes_the_entry_and_loses_its_memory_with_the_same_del(
    engine: httpx.Client, client: redis.Redis, database_url: str, valkey: Valkey
) -> None:
    with running_engine(engine_settings(database_url, valkey.url)) as other:
        assert read(engine) == {"none": 1}
        assert read(other) == {"hit": 1}
        client.delete(GENERATION)
        assert read(engine) == {"stale": 1}
        client.delete(ENTRY)  # which the first one has written anew: the other has nothing left but Postgres
        assert read(other) == {"none": 1}


def test_one_definition_can_be_cleared_by_its_name(
    engine: httpx.Client, client: redis.Redis, database_url: str, valkey: Valkey
) -> None:
    read(engine)
    assert client.delete(ENTRY) == 1
    with running_engine(engine_settings(database_url, valkey.url)) as other:
        assert read(other) == {"none": 1}
    assert client.exists(ENTRY)


@pytest.mark.parametrize("poison", ["document", "hash", "no json", "another type"])
def test_an_entry_with_another_content_than_postgres_has_is_passed_by(
    engine: httpx.Client, client: redis.Redis, database_url: str, valkey: Valkey, poison: str
) -> None:
    read(engine)
    entry = orjson.loads(str(client.get(ENTRY)))
    if poison == "document":
        entry["document"]["input_schema"] = {"type": "string"}
    elif poison == "hash":
        entry["hash"] = "0"
    client.set(ENTRY, orjson.dumps(entry) if poison in ("document", "hash") else "{")
    if poison == "another type":
        client.delete(ENTRY)
        client.rpush(ENTRY, "x")
    with running_engine(engine_settings(database_url, valkey.url)) as other:
        assert list(read(other)) in (["wrong"], ["stale"], ["none"])
        assert read(other) == {"hit": 1}
        refused = start(other, {"name": "greeting", "input": {}})
        assert refused.status_code == 422
    assert orjson.loads(str(client.get(ENTRY)))["document"] == DOCUMENT


def test_another_type_under_the_generations_name_is_replaced(engine: httpx.Client, client: redis.Redis) -> None:
    client.delete(GENERATION)
    client.rpush(GENERATION, "x")
    read(engine)
    assert read(engine) == {"hit": 1}
    assert client.type(GENERATION) == "string"


def test_without_redis_everything_comes_from_postgres(engine: httpx.Client, valkey: Valkey) -> None:
    read(engine)
    valkey.stop()
    assert read(engine) == {"redis": 1}
    assert read(engine) == {"redis": 1}
    assert start(engine, DOCUMENT | {"input": {"who": "world"}}).json()["version"] == 1


def test_a_start_goes_to_postgres_before_redis_has_answered(
    engine: httpx.Client, valkey: Valkey, database_url: str
) -> None:
    assert read(engine) == {"none": 1}
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGSTOP)  # it takes the question, and never answers
    try:
        assert read(engine) == {"redis": 1}
        answered = datetime.now(UTC)
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    with psycopg.connect(database_url) as connection:
        row = connection.execute("select max(created_at) from workflow.workflows").fetchone()
    assert row is not None
    assert answered - row[0] >= timedelta(seconds=0.2)  # of the quarter of a second that Redis is waited for


def test_a_restored_database_starts_no_other_content(engine: httpx.Client, database_url: str) -> None:
    """What the engine remembers of a document is that it is version 1; the database has other content there now."""
    with psycopg.connect(database_url) as connection:
        connection.execute("update workflow.definition_versions set hash = 'other' where name = 'greeting'")
    started = start(engine, DOCUMENT | {"input": {"who": "world"}})
    assert started.status_code == 202
    assert started.json()["version"] == 2
