"""Endings, time limits and children over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import psycopg
from support.eventually import eventually

from .conftest import PlayedWorker

TYPES = ["noop", "transform", "block", "workflow"]


def start(api: httpx.Client, **document: Any) -> str:
    answer = api.post("/api/v1/workflows", json=document)
    assert answer.status_code == 202, answer.text
    workflow_id: str = answer.json()["id"]
    return workflow_id


def get(api: httpx.Client, workflow_id: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/api/v1/workflows/{workflow_id}").json()
    return found


def test_a_cancelled_workflow_shows_its_ending_until_that_is_over(api: httpx.Client, worker: PlayedWorker) -> None:
    worker.types = TYPES
    handlers = {"on_exit": {"steps": [{"id": "clean", "type": "noop"}]}}
    workflow_id = start(api, name="tidy", steps=[{"id": "a", "type": "noop"}], **handlers)
    worker.claim()

    answer = api.post(f"/api/v1/workflows/{workflow_id}/cancel")
    assert (answer.status_code, answer.json()["status"], answer.json()["ending"]) == (202, "running", "cancelled")
    assert get(api, workflow_id)["ending"] == "cancelled"
    (listed,) = api.get("/api/v1/workflows", params={"status": "running"}).json()
    assert listed["ending"] == "cancelled"
    bulk = api.post("/api/v1/workflows/bulk/cancel", params={"name": "tidy"}).json()
    assert bulk["results"][0]["outcome"] == "unchanged"

    again = api.post(f"/api/v1/workflows/{workflow_id}/cancel")
    assert (again.status_code, again.json()["status"], again.json()["ending"]) == (202, "cancelled", None)
    steps = [(task["step"], task["status"]) for task in api.get(f"/api/v1/workflows/{workflow_id}/tasks").json()]
    assert steps == [("a", "cancelled"), ("on_exit", "cancelled")]


def test_a_workflow_answers_what_its_output_says(api: httpx.Client, worker: PlayedWorker) -> None:
    worker.types = TYPES
    output = {"doubled": "${ steps.a.output }"}
    workflow_id = start(api, name="shaped", steps=[{"id": "a", "type": "noop"}], output=output, timeout="1h")
    assert get(api, workflow_id)["deadline"] is not None
    (a,) = worker.claim()
    worker.end(a, output=21)
    (rendered,) = worker.claim()
    assert rendered["steps"]["a"]["output"] == 21
    worker.end(rendered, output={"doubled": 42})
    assert get(api, workflow_id)["output"] == {"doubled": 42}


def test_children_are_shown_with_their_parents(api: httpx.Client, worker: PlayedWorker) -> None:
    worker.types = TYPES
    child = {"name": "child", "steps": [{"id": "work", "type": "noop"}]}
    assert api.post("/api/v1/definitions", json=child).status_code in (200, 201)
    call = {"id": "call", "type": "workflow", "inputs": {"name": "child"}}
    parent_id = start(api, name="parent", steps=[call])
    (claim,) = worker.claim()
    worker.end(claim, "waiting", next="waiting", awaits={"kind": "child", "name": "child"})

    (listed,) = api.get("/api/v1/workflows", params={"parent": parent_id}).json()
    found = get(api, listed["id"])
    (task,) = api.get(f"/api/v1/workflows/{parent_id}/tasks").json()
    assert listed["parent_id"] == parent_id == found["root_id"]
    assert found["parent_task_id"] == task["id"]
    assert (task["status"], task["child_workflow_id"]) == ("waiting", listed["id"])
    assert api.get("/api/v1/workflows", params={"parent": listed["id"]}).json() == []
    assert api.get("/api/v1/workflows", params={"parent": "x"}).status_code == 422


def test_the_leader_ends_what_is_out_of_time(api: httpx.Client, worker: PlayedWorker, database_url: str) -> None:
    worker.types = TYPES
    workflow_id = start(api, name="late", steps=[{"id": "a", "type": "noop"}], timeout="1h")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "update workflow.workflows set deadline = now() - interval '1 second' where id = %s", [workflow_id]
        )
    failed = eventually(lambda: (found := get(api, workflow_id))["status"] == "failed" and found)
    assert failed["error"]["details"] == {"kind": "workflow", "seconds": 3600}
