"""POST /workflows and /workflows/batch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import ANY

import httpx
import psycopg
import pytest
from support.eventually import eventually

from .conftest import PlayedWorker, engine_settings, running_engine

RUNBOOK_BODY = b"""{
  "name": "data-pipeline",
  "steps": [
    {"id": "fetch", "type": "http", "url": "..."},
    {"id": "process", "type": "agent", "agent": "processor", "depends_on": ["fetch"]},
    {"id": "store", "type": "database", "depends_on": ["process"]}
  ]
}"""
JSON = {"Content-Type": "application/json"}


def noop(name: str = "one", **more: Any) -> dict[str, Any]:
    return {"name": name, "steps": [{"id": "a", "type": "noop"}], **more}


def test_the_runbooks_body_is_accepted_byte_for_byte(api: httpx.Client) -> None:
    answer = api.post("/api/v1/workflows", content=RUNBOOK_BODY, headers=JSON)

    assert answer.status_code == 202
    body = answer.json()
    assert answer.headers["location"] == f"/api/v1/workflows/{body['id']}" == body["links"]["self"]
    assert {name: body[name] for name in ("name", "version", "status")} == {
        "name": "data-pipeline",
        "version": 1,
        "status": "pending",
    }
    assert [warning["pointer"] for warning in body["warnings"]] == ["/steps/0/url"]
    assert answer.content.endswith(b"\n")
    assert api.get(answer.headers["location"]).json()["status"] == "pending"
    tasks = api.get(f"{answer.headers['location']}/tasks").json()
    assert [(task["step"], task["status"]) for task in tasks] == [
        ("fetch", "pending"),
        ("process", "blocked"),
        ("store", "blocked"),
    ]


def test_a_version_is_registered_only_when_the_content_changed(api: httpx.Client) -> None:
    versions = [
        api.post("/api/v1/workflows", json=body).json()["version"]
        for body in (
            noop(),
            noop(input={"x": 1}, labels={"a": "b"}, priority=5),
            noop(description="other"),
            noop(),
        )
    ]

    assert versions == [1, 1, 2, 1]


def test_a_registered_definition_starts_by_name_and_version(api: httpx.Client) -> None:
    api.post("/api/v1/workflows", json=noop())
    api.post("/api/v1/workflows", json=noop(description="newer"))

    latest = api.post("/api/v1/workflows", json={"name": "one"})
    first = api.post("/api/v1/workflows", json={"name": "one", "version": 1, "input": [1], "labels": {"team": "x"}})

    assert (latest.status_code, latest.json()["version"]) == (202, 2)
    assert (first.status_code, first.json()["version"]) == (202, 1)
    stored = api.get(first.headers["location"]).json()
    assert (stored["input"], stored["labels"]) == ([1], {"team": "x"})


def test_an_unknown_definition_is_told_in_the_runbooks_words(api: httpx.Client) -> None:
    api.post("/api/v1/workflows", json=noop())

    for body, label in (({"name": "absent"}, "absent"), ({"name": "one", "version": 7}, "one@7")):
        answer = api.post("/api/v1/workflows", json=body)
        assert answer.status_code == 404
        assert answer.json()["type"] == "urn:workflow-engine:problem:definition-not-found"
        assert f"Workflow definition not found: {label}" in answer.json()["detail"]
    unknown = {"name": "oen", "version": 2}
    assert "Did you mean one?" in api.post("/api/v1/workflows", json=unknown).json()["hint"]
    api.post("/api/v1/workflows", json=noop(description="newer"))
    unknown = {"name": "one", "version": 7}
    assert "Versions 1 to 2 exist." in api.post("/api/v1/workflows", json=unknown).json()["hint"]


def test_an_unknown_definition_is_a_warning_in_the_log(api: httpx.Client, capsys: pytest.CaptureFixture[str]) -> None:
    api.post("/api/v1/workflows", json={"name": "absent", "version": 3})

    (line,) = (line for line in capsys.readouterr().out.splitlines() if "definition not found" in line)
    assert "Workflow definition not found: absent@3" in line
    assert "warning" in line


def test_the_input_is_held_against_the_schema_of_the_definition(
    api: httpx.Client, database_url: str, written: Callable[[str], dict[str, int]]
) -> None:
    schema = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}
    refused = api.post("/api/v1/workflows", json=noop(input_schema=schema, input={"day": 7}))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/input/day"
    large = {"day": 7, "note": "x" * 40_000}  # checked aside, so that nobody waits for it
    assert api.post("/api/v1/workflows", json=noop(input_schema=schema, input=large)).json() == {
        **refused.json(),
        "instance": ANY,
    }
    assert not any(written(database_url).values())

    assert api.post("/api/v1/workflows", json=noop(input_schema=schema, input={"day": "x"})).status_code == 202
    by_name = api.post("/api/v1/workflows", json={"name": "one", "version": 1, "input": {}})
    again = api.post("/api/v1/workflows", json={"name": "one", "version": 1, "input": {}})
    assert (by_name.status_code, again.status_code) == (422, 422)


def test_a_key_repeats_the_first_answer_and_starts_nothing(api: httpx.Client) -> None:
    headers = {"Idempotency-Key": "order 7"}
    first = api.post("/api/v1/workflows", json=noop(input={"a": 1, "b": 2}), headers=headers)
    again = api.post("/api/v1/workflows", json=noop(input={"b": 2, "a": 1}), headers=headers)

    assert again.status_code == 202
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert len(api.get("/api/v1/workflows").json()) == 1


def test_a_key_with_another_body_is_refused_and_registers_nothing(
    api: httpx.Client, database_url: str, written: Callable[[str], dict[str, int]]
) -> None:
    headers = {"Idempotency-Key": "k"}
    api.post("/api/v1/workflows", json=noop(), headers=headers)
    before = written(database_url)

    for body in (noop(description="new"), noop(input=1)):
        answer = api.post("/api/v1/workflows", json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")
    assert written(database_url) == before


def test_fifty_requests_with_one_key_at_once_start_one_workflow(api: httpx.Client) -> None:
    def start(_: int) -> httpx.Response:
        return api.post("/api/v1/workflows", json=noop(), headers={"Idempotency-Key": "same"})

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(start, range(50)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(api.get("/api/v1/workflows").json()) == 1


def test_a_batch_starts_all_in_order(api: httpx.Client) -> None:
    api.post("/api/v1/workflows", json=noop("known"))
    batch = [noop("one"), {"name": "known"}, noop("two", input=3), noop("one")]

    answer = api.post("/api/v1/workflows/batch", json=batch)

    assert answer.status_code == 202
    assert [started["name"] for started in answer.json()] == ["one", "known", "two", "one"]
    assert all(set(started) == {"id", "name", "version", "status", "existing"} for started in answer.json())
    assert api.get(f"/api/v1/workflows/{answer.json()[2]['id']}").json()["input"] == 3


def test_a_batch_with_one_mistake_changes_nothing(
    api: httpx.Client, database_url: str, written: Callable[[str], dict[str, int]]
) -> None:
    before = written(database_url)

    unknown = api.post("/api/v1/workflows/batch", json=[noop("one"), {"name": "absent"}])
    invalid = api.post("/api/v1/workflows/batch", json=[noop("one"), noop("two", priority="high")])
    cyclic = {"name": "c", "steps": [{"id": "a", "type": "noop", "depends_on": ["a"]}]}
    cycle = api.post("/api/v1/workflows/batch", json=[noop("one"), cyclic])

    assert (unknown.status_code, invalid.status_code, cycle.status_code) == (404, 422, 422)
    assert invalid.json()["errors"][0]["pointer"] == "/1/priority"
    assert cycle.json()["errors"][0]["pointer"].startswith("/1/steps/0")
    assert written(database_url) == before


def test_waiting_answers_with_the_whole_workflow_when_it_ended_in_time(api: httpx.Client, worker: PlayedWorker) -> None:
    answers: list[httpx.Response] = []

    def start(url: str, headers: dict[str, str]) -> threading.Thread:
        thread = threading.Thread(
            target=lambda: answers.append(api.post(url, json=noop(), headers=headers)), daemon=True
        )
        thread.start()
        return thread

    threads = [
        start("/api/v1/workflows?wait=20s", {}),
        start("/api/v1/workflows", {"Prefer": "respond-async, wait=20"}),
    ]
    while any(thread.is_alive() for thread in threads):
        worker.run_all(output={"x": 1})

    assert [answer.status_code for answer in answers] == [200, 200]
    for answer in answers:
        assert answer.json()["status"] == "succeeded"
        assert answer.json()["output"] == {"a": {"x": 1}}
        assert answer.headers["location"] == answer.json()["links"]["self"]


def test_waiting_in_vain_answers_how_far_it_has_come(api: httpx.Client, worker: PlayedWorker) -> None:
    answer = api.post("/api/v1/workflows?wait=100ms", json=noop())
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")

    worker.claim()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.post, "/api/v1/workflows?wait=2s", json=noop())
        eventually(worker.claim)
        answer = waiting.result()
    assert (answer.status_code, answer.json()["status"]) == (202, "running")


def test_a_new_version_is_started_and_its_schema_asked_although_another_was_remembered(
    api: httpx.Client, database_url: str, redis_url: str
) -> None:
    """What one engine remembers of a name is not what is meant once another has registered a new version."""
    needs = noop(input_schema={"type": "object", "required": ["x"]})
    api.post("/api/v1/workflows", json=needs | {"input": {"x": 1}}).raise_for_status()
    for _ in range(2):
        assert api.post("/api/v1/workflows", json={"name": "one", "input": {"x": 1}}).json()["version"] == 1
    assert api.post("/api/v1/workflows", json={"name": "one"}).status_code == 422
    with running_engine(engine_settings(database_url, redis_url)) as other:
        other.post("/api/v1/workflows", json=noop()).raise_for_status()
        assert api.post("/api/v1/workflows", json={"name": "one"}).json()["version"] == 2
        other.post("/api/v1/workflows", json=needs | {"input": {"x": 1}, "description": "3"}).raise_for_status()
        assert api.post("/api/v1/workflows", json={"name": "one", "input": {"x": 1}}).json()["version"] == 3
        batch = api.post("/api/v1/workflows/batch", json=[{"name": "one", "input": {"x": 1}}, {"name": "one"}])
        assert (batch.status_code, batch.json()["errors"][0]["pointer"]) == (422, "/1/input")


def test_who_waits_is_answered_when_the_engine_stops(database_url: str, redis_url: str) -> None:
    with ThreadPoolExecutor(1) as pool, running_engine(engine_settings(database_url, redis_url)) as api:
        url = f"{api.base_url}/api/v1/workflows?wait=1m"
        waiting = pool.submit(httpx.post, url, json=noop(), timeout=30, trust_env=False)
        eventually(lambda: api.get("/api/v1/workflows").json())  # the block's end stops the engine

    assert waiting.result().status_code == 202


def test_a_cycle_is_answered_with_its_steps_and_logged_as_a_warning(
    api: httpx.Client, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [
        {"id": "a", "type": "noop", "depends_on": ["b"]},
        {"id": "b", "type": "noop", "depends_on": ["a"]},
    ]

    answer = api.post("/api/v1/workflows", json={"name": "circle", "steps": steps})

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:workflow-engine:problem:cycle-detected"
    cycle = answer.json()["cycle"]
    assert cycle[0] == cycle[-1]
    assert set(cycle) == {"a", "b"}
    phrase = f"Circular dependency detected: {' -> '.join(cycle)}"
    assert phrase in answer.json()["detail"]
    logged = capsys.readouterr().out
    assert phrase in logged
    assert "warning" in logged[: logged.index(phrase)].splitlines()[-1]


def test_a_task_type_that_a_worker_just_registered_is_known_at_once(api: httpx.Client, database_url: str) -> None:
    body = {"name": "own", "steps": [{"id": "a", "type": "thumbnail"}]}
    refused = api.post("/api/v1/workflows", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown-step-type")

    with psycopg.connect(database_url) as connection:
        connection.execute("insert into workflow.task_types (name) values ('thumbnail')")

    assert api.post("/api/v1/workflows", json=body).status_code == 202


def test_a_remembered_version_that_is_gone_is_registered_again(api: httpx.Client, database_url: str) -> None:
    api.post("/api/v1/workflows", json=noop()).raise_for_status()
    with psycopg.connect(database_url) as connection:
        for table in ("procrastinate_jobs", "workflow.tasks", "workflow.workflows", "workflow.definition_steps"):
            connection.execute(f"delete from {table}".encode())
        connection.execute("delete from workflow.definition_versions")
        connection.execute("delete from workflow.definitions")

    assert api.post("/api/v1/workflows", json=noop()).status_code == 202


def test_a_large_definition_does_not_keep_other_requests_waiting(api: httpx.Client) -> None:
    steps = [{"id": f"s{n}", "type": "noop", "depends_on": [f"s{n - 1}"] if n else []} for n in range(5000)]
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(api.post, "/api/v1/workflows", json={"name": "large", "steps": steps})
        longest = 0.0
        while not large.done():
            longest = max(longest, api.get("/api/v1/livez").elapsed.total_seconds())

    assert large.result().status_code == 202
    assert longest < large.result().elapsed.total_seconds() / 2
    tasks = api.get(f"{large.result().headers['location']}/tasks")
    assert len(tasks.json()) == 1000
    assert "next" in tasks.links
