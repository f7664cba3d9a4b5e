"""Redis that is away, hangs, refuses writes or lost its memory makes the engine degraded, never slow and never down."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator

import httpx
import pytest
import redis
from support.eventually import eventually

from workflow_engine.embedded.places import temporary_data_directory
from workflow_engine.embedded.valkey import Valkey

from .conftest import engine_settings, running_engine

ANSWER_SECONDS = 0.2
EPOCH = "{workflow:tasks:pending}:epoch"


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    directory = temporary_data_directory()
    try:
        with Valkey(directory) as server:
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def engine(database_url: str, valkey: Valkey) -> Iterator[httpx.Client]:
    with running_engine(engine_settings(database_url, valkey.url)) as client:
        eventually(lambda: check(client)["status"] == "ok")
        yield client


def check(engine: httpx.Client) -> dict[str, str]:
    answer = engine.get("/health")
    assert answer.status_code == 200
    found: dict[str, str] = answer.json()["checks"]["redis"]
    return found


@pytest.mark.parametrize("trouble", ["gone", "hung", "full"])
def test_trouble_with_redis_is_told_quickly_and_over_when_it_is_over(
    engine: httpx.Client, valkey: Valkey, trouble: str
) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        pid = valkey.pid
        assert pid
        if trouble == "gone":
            valkey.stop()
        elif trouble == "hung":
            os.kill(pid, signal.SIGSTOP)
        else:
            client.config_set("maxmemory", "1")
        took: list[float] = []

        def told() -> bool:
            started = time.monotonic()
            found = check(engine)
            took.append(time.monotonic() - started)
            return found["status"] == "down" and "Redis is away or refuses writes" in found["error"]

        eventually(told)
        if trouble == "gone":
            valkey.start()
        elif trouble == "hung":
            os.kill(pid, signal.SIGCONT)
        else:
            client.config_set("maxmemory", "128mb")
        assert sorted(took)[len(took) // 2] < ANSWER_SECONDS
        eventually(lambda: check(engine)["status"] == "ok")


def test_lists_that_were_lost_are_told_until_they_are_built_again(database_url: str, valkey: Valkey) -> None:
    """An engine that does not lead sees what the leader has not written yet."""
    with running_engine(engine_settings(database_url, valkey.url)) as engine:
        eventually(lambda: check(engine)["status"] == "ok")

        def lost() -> bool:
            with redis.Redis.from_url(valkey.url) as client:
                client.delete(EPOCH)
            return "being built" in check(engine).get("error", "")

        eventually(lost)
        eventually(lambda: check(engine)["status"] == "ok")
