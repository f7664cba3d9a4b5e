"""Task types: listed, changed at once, refused with help."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
import structlog.testing

from .conftest import PlayedWorker, engine_settings, running_engine

PATH = "/api/v1/task-types/llm_inference"


def test_built_in_types_are_there_before_any_worker(api: httpx.Client) -> None:
    names = [known["name"] for known in api.get("/api/v1/task-types").json()]

    assert names == sorted(names)
    assert {"http", "agent", "llm_inference", "database", "transform"} <= set(names)
    assert api.get(PATH).json() in api.get("/api/v1/task-types").json()


def test_the_runbooks_patch_counts_for_the_next_attempt_of_a_task_that_is_pending_already(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    api.post("/api/v1/workflows", json={"name": "w", "steps": [{"id": "a", "type": "noop"}]})

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with structlog.testing.capture_logs() as logs:
        changed = api.patch("/api/v1/task-types/noop", json={"timeout": "5m", "max_attempts": 7})

    assert changed.status_code == 200
    assert changed.json()["timeout"] == 300
    assert changed.json()["effective"] == {
        "timeout": {"value": 300.0, "from": "type"},
        "max_attempts": {"value": 7, "from": "type"},
    }
    assert api.get("/api/v1/task-types/noop").json() == changed.json()
    (claim,) = worker.claim()
    assert (claim["timeout"], claim["max_attempts"]) == (300, 7)
    (audit,) = [line for line in logs if line["event"] == "task type changed"]
    assert (audit["task_type"], audit["timeout_before"], audit["timeout_after"]) == ("noop", None, 300)


def test_a_change_is_seen_by_every_engine_and_survives_a_restart(
    api: httpx.Client, database_url: str, redis_url: str
) -> None:
    changed = api.patch(PATH, json={"timeout": 300}).json()

    with running_engine(engine_settings(database_url, redis_url)) as another:
        assert another.get(PATH).json() == changed


def test_null_takes_a_value_back_and_absent_fields_stay(api: httpx.Client) -> None:
    api.patch(PATH, json={"timeout": 5, "max_attempts": 2, "description": "Models"})

    taken_back = api.patch(PATH, json={"timeout": None}).json()

    assert (taken_back["timeout"], taken_back["max_attempts"], taken_back["description"]) == (None, 2, "Models")
    assert taken_back["effective"]["timeout"] == {"value": 60.0, "from": "default"}


@pytest.mark.parametrize("body", [b"", b"{}"], ids=["no body", "no fields"])
def test_an_empty_patch_changes_nothing(api: httpx.Client, body: bytes) -> None:
    before = api.get(PATH)

    answer = api.patch(PATH, content=body, headers={"Content-Type": "application/json"} if body else {})

    assert answer.status_code == 200
    assert (answer.json(), answer.headers["etag"]) == (before.json(), before.headers["etag"])


@pytest.mark.parametrize(
    ("patch", "code", "pointer"),
    [
        ({"timout": 1}, "unknown-property", "/timout"),
        ({"timeout": 0}, "out-of-range", "/timeout"),
        ({"timeout": -1}, "out-of-range", "/timeout"),
        ({"timeout": 86401}, "out-of-range", "/timeout"),
        ({"timeout": "soon"}, "validation-error", "/timeout"),
        ({"timeout": [1]}, "validation-error", "/timeout"),
        ({"max_attempts": 0}, "out-of-range", "/max_attempts"),
        ({"max_attempts": 1001}, "out-of-range", "/max_attempts"),
        ({"max_attempts": "3"}, "out-of-range", "/max_attempts"),
        ({"description": 3}, "validation-error", "/description"),
        ([], "validation-error", ""),
    ],
)
def test_a_patch_that_makes_no_sense_is_refused_with_the_place(
    shared_api: httpx.Client, patch: Any, code: str, pointer: str
) -> None:
    refused = shared_api.patch(PATH, json=patch)

    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert refused.json()["errors"][0]["pointer"] == pointer


def test_a_body_without_its_type_is_told_which_header_to_add(shared_api: httpx.Client) -> None:
    refused = shared_api.patch(PATH, content=b'{"timeout": 300}')

    assert refused.status_code == 415
    assert '-H "Content-Type: application/json"' in refused.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_an_unknown_type_is_answered_with_the_known_ones(shared_api: httpx.Client, method: str) -> None:
    absent = shared_api.request(method, "/api/v1/task-types/lmm_inference")

    assert (absent.status_code, absent.json()["code"]) == (404, "task-type-not-found")
    assert "llm_inference" in absent.json()["hint"]


def test_if_match_guards_against_a_change_in_between(api: httpx.Client) -> None:
    read = api.get(PATH).headers["etag"]

    first = api.patch(PATH, json={"timeout": 1}, headers={"If-Match": read})
    second = api.patch(PATH, json={"timeout": 2}, headers={"If-Match": read})

    assert (first.status_code, second.status_code) == (200, 412)
    assert (second.json()["code"], api.get(PATH).json()["timeout"]) == ("precondition-failed", 1)
    assert first.headers["etag"] in second.json()["hint"]
    listed = f'"0", {first.headers["etag"]}'
    assert api.patch(PATH, json={"timeout": 3}, headers={"If-Match": listed}).status_code == 200
    assert api.patch(PATH, json={"timeout": 4}, headers={"If-Match": "*"}).status_code == 200
    assert api.patch(PATH, json={"timeout": 5}, headers={"If-Match": "whatever"}).status_code == 412


def test_who_comes_too_late_is_told_who_did_what_meanwhile(api: httpx.Client) -> None:
    read = api.get(PATH).headers["etag"]
    api.patch(PATH, json={"timeout": 60, "max_attempts": 2})
    api.patch(PATH, json={"timeout": "5m"})

    late = api.patch(PATH, json={"timeout": 90}, headers={"If-Match": read})

    assert (late.status_code, late.json()["detail"]) == (
        412,
        "The task type llm_inference has been changed meanwhile: somebody set timeout to 60 s (before: nothing),"
        " max_attempts to 2 (before: nothing); somebody set timeout to 300 s (before: 60 s).",
    )
    for odd in ("ffffffffffffffff", "0"):
        assert api.patch(PATH, json={}, headers={"If-Match": f'"{odd}"'}).status_code == 412
    assert [change["by"] for change in api.get(f"{PATH}/changes").json()] == [None, None]


def test_nothing_is_told_of_changes_of_a_type_that_is_not_there(shared_api: httpx.Client) -> None:
    assert shared_api.get("/api/v1/task-types/lmm/changes").json()["code"] == "task-type-not-found"
