"""Running a workflow again from a step, and skipping a task, over HTTP."""

from __future__ import annotations

from typing import Any

import httpx

from .conftest import PlayedWorker
from .test_workflows import ERROR, fail_at_b, start

STEPS = [
    {"id": "read", "type": "http", "url": "https://example.com"},
    {"id": "send", "type": "http", "url": "https://example.com", "method": "POST", "depends_on": ["read"]},
    {"id": "any", "type": "http", "url": "https://example.com", "method": "${ input.m }", "depends_on": ["read"]},
    {"id": "keep", "type": "database", "depends_on": ["send", "any"]},
    {"id": "ask", "type": "agent", "agent": "x", "depends_on": ["keep"]},
]  # fmt: skip


def finished(api: httpx.Client, worker: PlayedWorker, **more: Any) -> str:
    answer = api.post("/api/v1/workflows", json={"name": "flow", "steps": STEPS, "input": {"m": "PUT"}, **more})
    assert answer.status_code == 202, answer.text
    worker.run_all(output={"n": 1})
    workflow_id: str = answer.json()["id"]
    return workflow_id


def tasks(api: httpx.Client, workflow_id: str) -> dict[str, dict[str, Any]]:
    return {task["step"]: task for task in api.get(f"/api/v1/workflows/{workflow_id}/tasks").json()}


def test_a_dry_run_says_what_runs_again_what_is_kept_and_which_effects_repeat(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    old = finished(api, worker)
    count = len(api.get("/api/v1/workflows").json())

    answer = api.post(f"/api/v1/workflows/{old}/rerun?dry_run=true", json={"from": "send", "input": {"m": "GET"}})

    assert answer.status_code == 200, answer.text
    plan = answer.json()
    assert (plan["id"], plan["status"], plan["rerun_of"], plan["version"]) == (None, None, old, 1)
    assert [s["step"] for s in plan["again"]] == ["send", "keep", "ask"]
    assert [s["step"] for s in plan["kept"]] == ["read", "any"]
    assert {e["step"]: e["effect"] for e in plan["effects"]} == {
        "send": "sends a POST request", "keep": "stores a record", "ask": "runs an agent",
    }  # fmt: skip
    assert plan["warnings"] == [
        "What these steps did outside is done again: send, keep, ask.",
        "The results that are kept were made from the old input.",
    ]
    assert len(api.get("/api/v1/workflows").json()) == count


def test_a_workflow_runs_again_from_a_step_as_a_new_one(api: httpx.Client, worker: PlayedWorker) -> None:
    old = finished(api, worker, labels={"team": "x"})

    answer = api.post(f"/api/v1/workflows/{old}/rerun", json={"from": "keep"}, headers={"Idempotency-Key": "k"})

    assert answer.status_code == 202, answer.text
    new = answer.json()["id"]
    assert answer.headers["location"] == f"/api/v1/workflows/{new}"
    found = tasks(api, new)
    assert {step: (t["status"], t["output_from"]) for step, t in found.items()} == {
        "read": ("succeeded", "rerun"), "send": ("succeeded", "rerun"), "any": ("succeeded", "rerun"),
        "keep": ("pending", None), "ask": ("blocked", None),
    }  # fmt: skip
    assert found["read"]["output"] == {"n": 1}
    again = api.post(f"/api/v1/workflows/{old}/rerun", json={"from": "keep"}, headers={"Idempotency-Key": "k"})
    assert (again.json()["id"], again.headers["idempotency-replayed"]) == (new, "true")
    worker.run_all(output=7)
    shown = api.get(f"/api/v1/workflows/{new}").json()
    assert (shown["status"], shown["output"], shown["rerun_of"], shown["labels"]) == (
        "succeeded", {"ask": 7}, old, {"team": "x"},
    )  # fmt: skip
    assert api.get(f"/api/v1/workflows/{old}").json()["rerun_of"] is None


def test_a_new_version_may_be_asked_for_and_what_it_has_otherwise_is_told(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    old = finished(api, worker)
    steps = [{**STEPS[0], "headers": {"X-A": "1"}}, *STEPS[1:], {"id": "new", "type": "noop"}]
    api.post("/api/v1/definitions", json={"name": "flow", "steps": steps}).raise_for_status()

    plan = api.post(f"/api/v1/workflows/{old}/rerun?dry_run", json={"from": "ask", "version": 2}).json()

    assert [(s["step"], s["ran"]) for s in plan["again"]] == [("ask", True), ("new", False)]
    assert plan["warnings"][-1] == "Kept, though version 2 has them otherwise: read."


def test_what_cannot_be_rerun_is_refused_with_the_place(api: httpx.Client, worker: PlayedWorker) -> None:
    old = finished(api, worker)
    path = f"/api/v1/workflows/{old}/rerun"
    schema = {"type": "object", "required": ["day"]}
    api.post("/api/v1/definitions", json={"name": "flow", "steps": STEPS, "input_schema": schema}).raise_for_status()

    def refusal(body: Any) -> tuple[int, str, str | None]:
        answer = api.post(path, json=body)
        problem = answer.json()
        return answer.status_code, problem["code"], (problem.get("errors") or [{}])[0].get("pointer")

    assert refusal({"from": "sned"}) == (422, "unknown-dependency", "/from")
    assert refusal({"from": "send[0]"}) == (422, "unknown-dependency", "/from")
    assert refusal({"from": 7}) == (422, "validation-error", "/from")
    assert refusal({"version": 9}) == (404, "definition-not-found", None)
    assert refusal({"version": 2}) == (422, "validation-error", "/input")
    assert refusal({"form": "send"}) == (422, "unknown-property", "/form")
    running = api.post("/api/v1/workflows", json={"name": "flow", "version": 1}).json()["id"]
    answer = api.post(f"/api/v1/workflows/{running}/rerun")
    assert (answer.status_code, answer.json()["code"]) == (409, "invalid-transition")
    api.delete("/api/v1/definitions/flow").raise_for_status()
    assert refusal({}) == (409, "definition-disabled", None)


def test_a_failed_task_is_skipped_and_its_workflow_succeeds(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api)
    fail_at_b(worker)
    task = tasks(api, workflow_id)["b"]["id"]

    answer = api.post(f"/api/v1/tasks/{task}/skip", json={"output": {"rows": 0}, "reason": "Nothing today."})

    assert answer.status_code == 200, answer.text
    skipped = answer.json()
    assert (skipped["status"], skipped["output"], skipped["output_from"], skipped["error"]) == (
        "succeeded", {"rows": 0}, "operator", None,
    )  # fmt: skip
    worker.run_all(output=1)
    assert api.get(f"/api/v1/workflows/{workflow_id}").json()["status"] == "succeeded"
    assert "task overridden" in api.get(f"/api/v1/workflows/{workflow_id}/logs?format=text").text
    assert "Nothing today." in api.get(f"/api/v1/workflows/{workflow_id}/logs?format=text").text


def test_a_skip_without_a_body_gives_null(api: httpx.Client) -> None:
    workflow_id = start(api)

    answer = api.post(f"/api/v1/tasks/{tasks(api, workflow_id)['a']['id']}/skip")

    assert (answer.status_code, answer.json()["output"]) == (200, None)
    assert tasks(api, workflow_id)["b"]["status"] == "pending"


def test_a_skip_that_makes_no_sense_is_refused(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api)
    (claim,) = worker.claim()
    running = api.post(f"/api/v1/tasks/{claim['task_id']}/skip", json={"output": 1})
    assert (running.status_code, running.json()["code"]) == (409, "invalid-transition")
    task = tasks(api, workflow_id)["b"]["id"]
    for body in ({"outptu": 1}, {"reason": 1}, {"reason": "x" * 501}, [1]):
        assert api.post(f"/api/v1/tasks/{task}/skip", json=body).status_code == 422
    assert api.post("/api/v1/tasks/1/skip").status_code == 404
    worker.end(claim, "failed", error=ERROR)


def test_a_switch_is_skipped_only_with_the_cases_to_take(api: httpx.Client) -> None:
    steps = [
        {"id": "route", "type": "switch", "cases": [{"id": "big", "when": "true"}]},
        {"id": "b", "type": "noop", "depends_on": [{"step": "route", "case": "big"}]},
    ]
    started = api.post("/api/v1/workflows", json={"name": "routes", "steps": steps})
    assert started.status_code == 202, started.text
    task = tasks(api, started.json()["id"])["route"]["id"]

    for output in (None, {}, {"cases": "x"}, {"cases": [1]}):
        refused = api.post(f"/api/v1/tasks/{task}/skip", json={"output": output})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/output")
    taken = api.post(f"/api/v1/tasks/{task}/skip", json={"output": {"cases": ["big"]}})

    assert taken.status_code == 200
    assert tasks(api, started.json()["id"])["b"]["status"] == "pending"
