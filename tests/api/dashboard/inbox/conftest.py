"""One engine for all tests of a file: they are about things of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from support.databases import new_database

from ...conftest import PlayedWorker, engine_settings, running_engine


@pytest.fixture(scope="module")
def database_url(server_url: str, template_database: str) -> Iterator[str]:
    with new_database(server_url, "inbox", template=template_database) as url:
        yield url


@pytest.fixture(scope="module")
def api(database_url: str, redis_server_url: str) -> Iterator[httpx.Client]:
    with running_engine(engine_settings(database_url, redis_server_url)) as client:
        yield client


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def worker(database_url: str) -> Iterator[PlayedWorker]:
    played = PlayedWorker(database_url)
    yield played
    played.connection.close()
