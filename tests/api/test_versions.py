"""Versions of definitions, and pinning workflows and definitions to them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from .conftest import PlayedWorker
from .test_workflows import ERROR

FIRST = [{"id": "a", "type": "noop"}, {"id": "b", "type": "noop", "depends_on": ["a"], "retries": 0}]
SECOND = [*FIRST, {"id": "c", "type": "noop", "depends_on": ["b"]}]


def submit(api: httpx.Client, steps: list[dict[str, Any]], **more: Any) -> str:
    answer = api.post("/api/v1/workflows", json={"name": "flow", "steps": steps, **more})
    assert answer.status_code == 202, answer.text
    workflow_id: str = answer.json()["id"]
    return workflow_id


def register(api: httpx.Client, steps: list[dict[str, Any]], **more: Any) -> None:
    """Register a version and leave no workflow of it."""
    api.post(f"/api/v1/workflows/{submit(api, steps, **more)}/cancel").raise_for_status()


def pin(api: httpx.Client, what: str, version: int) -> dict[str, Any]:
    answer = api.post(f"/api/v1/workflows/{what}/pin?version={version}")
    assert answer.status_code == 200, answer.text
    pinned: dict[str, Any] = answer.json()
    return pinned


def statuses(api: httpx.Client, workflow_id: str) -> dict[str, str]:
    return {task["step"]: task["status"] for task in api.get(f"/api/v1/workflows/{workflow_id}/tasks").json()}


def test_versions_show_what_runs_where(api: httpx.Client) -> None:
    assert api.get("/api/v1/workflows/versions").json() == []
    first = submit(api, FIRST)
    submit(api, SECOND)
    register(api, SECOND)

    (flow,) = api.get("/api/v1/workflows/versions").json()

    assert (flow["name"], flow["latest_version"], flow["pinned_version"]) == ("flow", 2, None)
    shown = [(v["version"], v["active_runs"], v["pinned_runs"], v["is_default"]) for v in flow["versions"]]
    assert shown == [(1, 1, 0, False), (2, 1, 0, True)]
    workflow = api.get(f"/api/v1/workflows/{first}").json()
    assert (workflow["version"], workflow["latest_version"], workflow["pinned_version"]) == (1, 2, None)


def test_a_pending_workflow_switches_at_once_and_back(api: httpx.Client) -> None:
    workflow_id = submit(api, FIRST)
    register(api, SECOND)

    pinned = pin(api, workflow_id, 2)

    assert (pinned["id"], pinned["status"], pinned["version"], pinned["pinned_version"]) == (
        workflow_id,
        "pending",
        2,
        2,
    )
    assert statuses(api, workflow_id) == {"a": "pending", "b": "blocked", "c": "blocked"}
    unpinned = api.delete(f"/api/v1/workflows/{workflow_id}/pin").json()
    assert (unpinned["version"], unpinned["pinned_version"]) == (1, None)
    assert statuses(api, workflow_id) == {"a": "pending", "b": "blocked"}


def test_a_failed_workflow_is_retried_on_the_pinned_version_and_its_trace_is_whole(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    workflow_id = submit(api, FIRST)
    register(api, SECOND)
    (claim,) = worker.claim()
    worker.end(claim, output={"n": 1})
    (claim,) = worker.claim()
    assert pin(api, workflow_id, 2)["version"] == 1, "what runs never switches"
    worker.end(claim, "failed", error=ERROR)

    assert api.post(f"/api/v1/workflows/{workflow_id}/retry").json()["tasks"] == 2

    worker.run_all()
    workflow = api.get(f"/api/v1/workflows/{workflow_id}").json()
    assert (workflow["status"], workflow["version"], workflow["pinned_version"]) == ("succeeded", 2, 2)
    trace = api.get(f"/api/v1/workflows/{workflow_id}/trace").json()
    assert [(span["step"], span["attempt"], span["status"]) for span in trace] == [
        ("a", 1, "succeeded"),
        ("b", 1, "failed"),
        ("b", 1, "succeeded"),
        ("c", 1, "succeeded"),
    ]
    refused = api.post(f"/api/v1/workflows/{workflow_id}/pin?version=1")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid-transition")


def test_a_pinned_definition_is_what_new_workflows_start_on(api: httpx.Client) -> None:
    register(api, FIRST)
    register(api, SECOND)

    pinned = pin(api, "flow", 1)

    assert (pinned["id"], pinned["version"], pinned["latest_version"], pinned["pinned_version"]) == (None, 1, 2, 1)
    assert api.post("/api/v1/workflows", json={"name": "flow"}).json()["version"] == 1
    assert api.delete("/api/v1/workflows/flow/pin").json()["version"] == 2
    assert api.post("/api/v1/workflows", json={"name": "flow"}).json()["version"] == 2


def test_an_unknown_version_is_answered_with_those_that_exist(api: httpx.Client) -> None:
    workflow_id = submit(api, FIRST)
    submit(api, SECOND)

    for what in (workflow_id, "flow"):
        answer = api.post(f"/api/v1/workflows/{what}/pin?version=9")
        assert (answer.status_code, answer.json()["code"]) == (404, "definition-not-found")
        assert answer.json()["detail"] == "Workflow definition not found: flow@9"
        assert answer.json()["hint"] == "Versions 1 to 2 exist."


def test_an_unknown_name_is_answered_with_the_nearest(api: httpx.Client) -> None:
    register(api, FIRST)

    for answer in (
        api.post("/api/v1/workflows/flwo/pin?version=1"),
        api.delete("/api/v1/workflows/flwo/pin"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "definition-not-found")
        assert answer.json()["hint"] == "Did you mean flow?"


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_the_placeholder_and_unknown_ids_are_not_found(method: str, api: httpx.Client) -> None:
    recent = submit(api, FIRST)
    query = "?version=2" if method == "POST" else ""

    for given in ("workflow_id", "00000000-0000-0000-0000-000000000000", "%00", "x" * 5000):
        answer = api.request(method, f"/api/v1/workflows/{given}/pin{query}")
        assert answer.status_code == 404
        assert len(answer.content) < 2000
        if given == "workflow_id":
            assert recent in answer.json()["detail"]


@pytest.mark.parametrize("query", ["", "?version=", "?version=two", "?version=0", "?version=99999999999", "?v=2"])
def test_a_bad_version_is_refused(query: str, shared_api: httpx.Client) -> None:
    answer = shared_api.post(f"/api/v1/workflows/flow/pin{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-parameter")


def test_a_version_that_does_not_take_the_input_is_refused(api: httpx.Client) -> None:
    workflow_id = submit(api, FIRST, input={"day": 7})
    schema = {"type": "object", "properties": {"day": {"type": "string"}}}
    register(api, FIRST, input_schema=schema, input={})

    answer = api.post(f"/api/v1/workflows/{workflow_id}/pin?version=2")

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/input/day")
    assert api.get(f"/api/v1/workflows/{workflow_id}").json()["version"] == 1
