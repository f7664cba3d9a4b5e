"""`POST /workflows/reload`: definitions in files, and everybody reads definitions anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg
import pytest
import redis
from support.eventually import eventually

from .conftest import engine_settings, running_engine

GENERATION = "workflow:definitions:*"


def definition(name: str, **more: Any) -> str:
    return orjson.dumps({"name": name, "steps": [{"id": "a", "type": "noop"}], **more}).decode()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    directory = tmp_path / "definitions"
    directory.mkdir()
    return directory


@pytest.fixture
def engine(database_url: str, redis_url: str, files: Path) -> Iterator[httpx.Client]:
    (files / "first.json").write_text(definition("first"))
    with running_engine(engine_settings(database_url, redis_url, WORKFLOW_DEFINITIONS_DIR=str(files))) as client:
        eventually(lambda: start(client, "first").status_code == 202)
        yield client


def start(engine: httpx.Client, name: str) -> httpx.Response:
    return engine.post("/api/v1/workflows", json={"name": name})


def reload(engine: httpx.Client) -> dict[str, Any]:
    answer = engine.post("/api/v1/workflows/reload")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_files_are_read_when_an_engine_starts(engine: httpx.Client) -> None:
    assert start(engine, "first").json()["version"] == 1
    assert reload(engine) == {"reloaded": 1, "added": [], "changed": [], "invalid": []}


def test_what_is_new_is_added_what_is_different_is_a_new_version_and_one_bad_file_stops_none(
    engine: httpx.Client, files: Path
) -> None:
    (files / "first.json").write_text(definition("first", description="another"))
    (files / "second.yaml").write_text("name: second\nsteps:\n  - {id: a, type: noop}\n")
    (files / "third.yml").write_text("name: third\nsteps:\n  - {id: a, type: unheard-of}\n")
    (files / "broken.json").write_text('{"name": ')
    (files / "twice.json").write_text('{"name": "a", "name": "b"}')
    (files / "again.yaml").write_text("name: second\nsteps:\n  - {id: b, type: noop}\n")
    (files / "list.json").write_text("[]")
    (files / "binary.yaml").write_bytes(b"\xff")
    (files / "large.json").write_text(" " * 1024 * 1024 + "{}")
    (files / "notes.txt").write_text("not a definition")
    (files / ".hidden.json").write_text("{")
    (files / "folder.json").mkdir()
    (files / "gone.json").symlink_to("nowhere")

    body = reload(engine)

    codes = {refused["file"]: refused["errors"][0]["code"] for refused in body["invalid"]}
    assert codes == {
        "third.yml": "unknown-step-type",
        "broken.json": "malformed-json",
        "twice.json": "duplicate-json-key",
        "second.yaml": "duplicate-property",
        "list.json": "validation-error",
        "binary.yaml": "malformed-yaml",
        "large.json": "payload-too-large",
    }
    assert (body["reloaded"], body["added"], body["changed"]) == (2, ["second"], ["first"])
    assert start(engine, "first").json()["version"] == 2
    assert start(engine, "second").status_code == 202


def test_a_definition_that_was_deleted_stays_deleted(engine: httpx.Client, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("update workflow.definitions set disabled_at = now()")
    reload(engine)
    assert start(engine, "first").status_code == 409


def test_a_directory_that_is_gone_is_told(engine: httpx.Client, files: Path) -> None:
    (files / "first.json").unlink()
    files.rmdir()
    (refused,) = reload(engine)["invalid"]
    assert refused["file"] == str(files)
    assert refused["errors"][0]["code"] == "file-unreadable"


def test_without_files_it_clears_the_cache_and_tells_the_workers(
    api: httpx.Client, redis_url: str, database_url: str
) -> None:
    api.post("/api/v1/workflows", content=definition("any"), headers={"Content-Type": "application/json"})
    with (
        redis.Redis.from_url(redis_url, decode_responses=True) as client,
        psycopg.connect(database_url, autocommit=True) as listening,
    ):
        listening.execute("listen workflow_definitions")
        before = client.get(GENERATION)
        assert reload(api) == {"reloaded": 0, "added": [], "changed": [], "invalid": []}
        assert client.get(GENERATION) not in (None, before)
        assert [notice.channel for notice in listening.notifies(timeout=5, stop_after=1)] == ["workflow_definitions"]


def test_types_that_workers_bring_later_are_waited_for(database_url: str, redis_url: str, files: Path) -> None:
    (files / "own.yaml").write_text("name: own\nsteps:\n  - {id: a, type: thumbnail}\n")
    with running_engine(engine_settings(database_url, redis_url, WORKFLOW_DEFINITIONS_DIR=str(files))) as engine:
        assert start(engine, "own").status_code == 404
        with psycopg.connect(database_url) as connection:
            connection.execute("insert into workflow.task_types (name) values ('thumbnail')")
        eventually(lambda: start(engine, "own").status_code == 202, 20)
