"""One task: look at it, run it again."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from .conftest import PlayedWorker
from .test_workflows import ERROR, fail_at_b, start


def tasks(api: httpx.Client, workflow_id: str) -> dict[str, dict[str, Any]]:
    return {task["step"]: task for task in api.get(f"/api/v1/workflows/{workflow_id}/tasks").json()}


def test_a_task_is_shown_as_its_workflow_lists_it(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api)
    fail_at_b(worker)

    for task in tasks(api, workflow_id).values():
        assert api.get(f"/api/v1/tasks/{task['id']}").json() == task


def test_a_failed_task_is_retried_with_the_timeout_given(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api)
    fail_at_b(worker)
    task_id = tasks(api, workflow_id)["b"]["id"]

    retried = api.post(f"/api/v1/tasks/{task_id}/retry?timeout=600")

    assert (retried.status_code, retried.headers["location"]) == (202, f"/api/v1/workflows/{workflow_id}")
    assert (retried.json()["id"], retried.json()["tasks"]) == (workflow_id, 2)
    assert api.get(retried.headers["location"]).json()["status"] == "running"
    assert api.get(f"/api/v1/tasks/{task_id}").json()["timeout_override"] == 600
    again = api.post(f"/api/v1/tasks/{task_id}/retry?timeout=10m")
    assert (again.status_code, again.json()["tasks"]) == (202, 0)
    (claim,) = worker.claim()
    assert (claim["attempt"], claim["timeout"]) == (2, 600)
    refused = api.post(f"/api/v1/tasks/{task_id}/retry?timeout=600")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid-transition")
    worker.end(claim)
    worker.run_all()
    done = tasks(api, workflow_id)
    assert {task["status"] for task in done.values()} == {"succeeded"}
    assert (done["a"]["attempt"], done["b"]["attempt"]) == (1, 2)
    assert done["b"]["timeout_override"] is None
    trace = api.get(f"/api/v1/workflows/{workflow_id}/trace").json()
    assert [(span["step"], span["status"]) for span in trace][:3] == [
        ("a", "succeeded"),
        ("b", "failed"),
        ("b", "succeeded"),
    ]
    kept = api.post(f"/api/v1/tasks/{task_id}/retry")
    assert (kept.status_code, kept.json()["detail"]) == (409, "The task has already succeeded.")
    assert "output is kept" in kept.json()["hint"]


def test_a_task_of_a_cancelled_workflow_is_retried_with_force_alone(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api)
    api.post(f"/api/v1/workflows/{workflow_id}/cancel")
    path = f"/api/v1/tasks/{tasks(api, workflow_id)['a']['id']}/retry"

    assert api.post(path).status_code == 409
    assert api.post(f"{path}?force=true").status_code == 202
    assert worker.run_all() == 3


@pytest.mark.parametrize("given", ["task_id", "{task_id}"])
def test_the_placeholder_is_answered_with_tasks_that_failed(
    given: str, api: httpx.Client, worker: PlayedWorker
) -> None:
    assert "none yet" in api.post(f"/api/v1/tasks/{given}/retry?timeout=600").json()["detail"]
    workflow_id = start(api)
    fail_at_b(worker)

    answer = api.post(f"/api/v1/tasks/{given}/retry?timeout=600")

    assert (answer.status_code, answer.json()["code"]) == (404, "task-not-found")
    assert tasks(api, workflow_id)["b"]["id"] in answer.json()["detail"]


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "9" * 19, "9" * 5000, "%00", "٣", "0"])
def test_what_is_no_task_is_not_found(given: str, shared_api: httpx.Client) -> None:
    for answer in (shared_api.get(f"/api/v1/tasks/{given}"), shared_api.post(f"/api/v1/tasks/{given}/retry")):
        assert (answer.status_code, answer.json()["code"]) == (404, "task-not-found")
        assert len(answer.content) < 2000


def test_the_id_of_a_workflow_leads_to_its_tasks(api: httpx.Client) -> None:
    workflow_id = start(api)

    answer = api.get(f"/api/v1/tasks/{workflow_id}")

    assert answer.status_code == 404
    assert f"/api/v1/workflows/{workflow_id}/tasks" in answer.json()["hint"]


@pytest.mark.parametrize("query", ["timeout=soon", "timeout=0", "timeout=-5", "timeout=2d", "timeout=", "tries=3"])
def test_a_bad_timeout_is_refused(query: str, api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api)
    (claim,) = worker.claim()
    worker.end(claim, "failed", error=ERROR)
    path = f"/api/v1/tasks/{tasks(api, workflow_id)['a']['id']}/retry"

    refused = api.post(f"{path}?{query}")

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-parameter")
    assert api.get(f"/api/v1/workflows/{workflow_id}").json()["status"] == "failed"


def test_a_body_that_says_something_is_refused(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api)
    path = f"/api/v1/tasks/{tasks(api, workflow_id)['a']['id']}/retry"

    assert api.post(path, json={"timeout": 600}).status_code == 422
    assert api.post(path, json={}).status_code == 202
