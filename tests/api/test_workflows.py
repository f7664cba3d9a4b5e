"""Workflows: list, look at, cancel, retry."""

from __future__ import annotations

import csv
import io
import uuid
from typing import Any

import httpx
import pytest

from .conftest import PlayedWorker

CHAIN = [
    {"id": "a", "type": "noop"},
    {"id": "b", "type": "noop", "depends_on": ["a"], "retries": 0},
    {"id": "c", "type": "noop", "depends_on": ["b"]},
]
ERROR = {"type": "user.broken", "message": "It broke.", "retryable": False, "attempt": 1, "details": {}}


def start(api: httpx.Client, name: str = "chain", **more: Any) -> str:
    answer = api.post("/api/v1/workflows", json={"name": name, "steps": CHAIN, **more})
    assert answer.status_code == 202, answer.text
    workflow_id: str = answer.json()["id"]
    return workflow_id


def fail_at_b(worker: PlayedWorker) -> None:
    (first,) = worker.claim()
    worker.end(first, output={"n": 1})
    (second,) = worker.claim()
    worker.end(second, "failed", error=ERROR)


def test_a_workflow_shows_its_progress_input_output_and_times(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api, input={"day": 1}, labels={"team": "x"}, priority=3)
    pending = api.get(f"/api/v1/workflows/{workflow_id}").json()
    assert (pending["status"], pending["input"], pending["output"]) == ("pending", {"day": 1}, None)
    assert (pending["labels"], pending["priority"], pending["started_at"]) == ({"team": "x"}, 3, None)

    (claim,) = worker.claim()
    assert api.get(f"/api/v1/workflows/{workflow_id}").json()["status"] == "running"
    worker.end(claim)
    worker.run_all(output=[7])

    done = api.get(f"/api/v1/workflows/{workflow_id}").json()
    assert (done["status"], done["output"], done["error"]) == ("succeeded", {"c": [7]}, None)
    assert done["created_at"] <= done["started_at"] <= done["finished_at"]
    assert done["finished_at"].endswith("Z")


def test_a_failed_workflow_shows_the_error_and_what_became_of_each_step(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    workflow_id = start(api)
    fail_at_b(worker)

    assert api.get(f"/api/v1/workflows/{workflow_id}").json()["error"]["type"] == "user.broken"
    tasks = api.get(f"/api/v1/workflows/{workflow_id}/tasks").json()
    assert [(task["step"], task["status"], task["attempt"]) for task in tasks][:2] == [
        ("a", "succeeded", 1),
        ("b", "failed", 1),
    ]
    assert tasks[2]["status"] in ("failed", "cancelled", "skipped")
    assert all(isinstance(task["id"], str) for task in tasks)
    assert tasks[0]["output"] == {"n": 1}
    assert tasks[1]["error"]["message"] == "It broke."


def test_retry_keeps_what_succeeded_and_refuses_what_is_not_over(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api)
    path = f"/api/v1/workflows/{workflow_id}"
    woken = api.post(f"{path}/retry")
    assert (woken.status_code, woken.json()["tasks"]) == (202, 0)
    fail_at_b(worker)

    retried = api.post(f"{path}/retry")

    assert (retried.status_code, retried.headers["location"], retried.json()["tasks"]) == (202, path, 2)
    (claim,) = worker.claim()
    assert claim["attempt"] == 2
    refused = api.post(f"{path}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid-transition")
    worker.end(claim)
    assert worker.run_all() == 1
    assert api.get(path).json()["status"] == "succeeded"
    assert api.post(f"{path}/retry").status_code == 409


def test_cancel_ends_a_workflow_once_and_refuses_one_that_has_ended(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api)
    path = f"/api/v1/workflows/{workflow_id}"

    first = api.post(f"{path}/cancel", json={"reason": "No longer needed."})
    again = api.post(f"{path}/cancel")

    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["status"] == again.json()["status"] == "cancelled"
    assert worker.claim() == []
    cancelled = api.get(path).json()
    assert (cancelled["status"], cancelled["error"]["message"]) == ("cancelled", "No longer needed.")
    assert api.post(f"{path}/retry").json()["hint"] == "Add ?force=true to run it all the same."
    assert api.post(f"{path}/retry?force=true").status_code == 202
    assert worker.run_all() == 3
    ended = api.post(f"{path}/cancel")
    assert (ended.status_code, ended.json()["code"]) == (409, "invalid-transition")


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/x-www-form-urlencoded"}], ids=["none", "form"])
@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_an_empty_body_is_enough(api: httpx.Client, action: str, headers: dict[str, str]) -> None:
    workflow_id = start(api)

    assert api.post(f"/api/v1/workflows/{workflow_id}/{action}", headers=headers).status_code == 202


def test_the_list_is_filtered_and_paged_by_links(api: httpx.Client, worker: PlayedWorker) -> None:
    ids = [start(api, "red" if n % 2 else "blue", labels={"n": str(n), "team": "x"}) for n in range(5)]
    api.post(f"/api/v1/workflows/{ids[0]}/cancel")

    def listed(query: str) -> list[str]:
        return [workflow["id"] for workflow in api.get(f"/api/v1/workflows?{query}").raise_for_status().json()]

    assert listed("") == ids[::-1]
    assert listed("name=red") == [ids[3], ids[1]]
    assert listed("status=cancelled") == [ids[0]]
    assert listed("status=cancelled,pending") == listed("status=cancelled&status=pending") == ids[::-1]
    assert listed("status=failed") == []
    assert listed("label.n=2&label.team=x") == [ids[2]]
    created = api.get(f"/api/v1/workflows/{ids[2]}").json()["created_at"]
    assert listed(f"since={created}") == ids[:1:-1]
    assert listed(f"until={created.replace('Z', '+00:00')}") == [ids[1], ids[0]]
    assert listed("since=1h") == ids[::-1]
    assert listed("until=1h") == []

    seen: list[str] = []
    url: str | None = "/api/v1/workflows?limit=2&label.team=x"
    pages = 0
    while url:
        page = api.get(url)
        pages += 1
        seen += [workflow["id"] for workflow in page.json()]
        assert "input" not in page.json()[0]
        url = page.links["next"]["url"] if "next" in page.links else None
    assert (seen, pages) == (ids[::-1], 3)


def test_workflows_are_found_by_the_beginning_of_a_name_and_by_how_long_they_ran(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    names = ["data-copy", "data-pipeline", "report"]
    ids = {name: start(api, name) for name in names}
    waits = start(api, "data-later", priority=-1)  # nothing of it is claimed: it has not run
    claims = worker.claim(3)
    worker.connection.execute(
        "update workflow.workflows w set started_at = w.created_at - interval '2 hours' where w.id = %s",
        [ids["data-copy"]],
    )
    for claim in claims:
        if claim["workflow_id"] == ids["report"]:
            worker.end(claim, "failed", error=ERROR)

    def listed(query: str) -> list[str]:
        return [workflow["id"] for workflow in api.get(f"/api/v1/workflows?{query}").raise_for_status().json()]

    assert listed("name=data-*") == [waits, ids["data-pipeline"], ids["data-copy"]]
    assert listed("name=data*&min_duration=1h") == [ids["data-copy"]]
    assert listed("max_duration=1h") == [ids["report"], ids["data-pipeline"]]
    assert listed("min_duration=1ms&max_duration=1h&status=failed") == [ids["report"]]
    assert listed("min_duration=3h") == []
    assert listed("sort=longest")[0] == ids["data-copy"]
    assert listed("sort=longest")[-1] == waits
    for wrong in ("min_duration=long", "sort=best", "sort=longest&format=csv"):
        assert api.get(f"/api/v1/workflows?{wrong}").status_code == 422

    would = api.post("/api/v1/workflows/bulk/cancel?min_duration=1h&dry_run=true").raise_for_status().json()
    assert [result["id"] for result in would["results"]] == [ids["data-copy"]]


def test_the_oldest_workflows_come_first_page_by_page(api: httpx.Client) -> None:
    ids = [start(api) for _ in range(5)]
    seen: list[str] = []
    url: str | None = "/api/v1/workflows?sort=oldest&limit=2"
    while url:
        page = api.get(url).raise_for_status()
        seen += [workflow["id"] for workflow in page.json()]
        url = page.links["next"]["url"] if "next" in page.links else None
    assert seen == ids


def test_a_table_has_all_pages_and_no_formulas(
    api: httpx.Client, worker: PlayedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflow_engine.api.workflow_csv._ROWS", 2)
    monkeypatch.setattr("workflow_engine.api.workflow_csv._AMONG", 3)
    ids = [start(api, "red" if n % 2 else "blue", labels={"n": str(n)}) for n in range(7)]
    claim = next(claim for claim in worker.claim() if claim["workflow_id"] == ids[3])
    worker.end(claim, "failed", error={**ERROR, "message": '=HYPERLINK("x"),\nand more'})

    def table(query: str = "") -> list[dict[str, str]]:
        answer = api.get(f"/api/v1/workflows?format=csv{query}").raise_for_status()
        assert answer.headers["content-type"].startswith("text/csv")
        return [*csv.DictReader(io.StringIO(answer.text, newline=""))]

    assert [row["id"] for row in table()] == ids[::-1]
    assert [row["id"] for row in table("&sort=oldest")] == ids
    assert [row["id"] for row in table("&name=red&label.n=1")] == [ids[1]]
    (failed,) = table("&status=failed")
    assert (failed["id"], failed["labels"], failed["error_type"]) == (ids[3], '{"n":"3"}', "user.broken")
    assert failed["error_message"] == '\'=HYPERLINK("x"),\nand more'
    assert float(failed["seconds"]) > 0


def test_what_few_meet_is_found_by_going_on_however_many_there_are(
    api: httpx.Client, worker: PlayedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflow_engine.api.routes.workflows.AMONG", 3)
    monkeypatch.setattr("workflow_engine.api.routes.bulk.AMONG", 3)
    rare = start(api, name="rare")
    for _ in range(6):
        start(api, name="many")
    found, pages, path = [], 0, "/api/v1/workflows?name=rare"
    while path:
        page = api.get(path).raise_for_status()
        found, pages = found + [workflow["id"] for workflow in page.json()], pages + 1
        path = page.links["next"]["url"] if "next" in page.links else ""
    assert (found, pages) == ([rare], 3)

    done, path = [], "/api/v1/workflows/bulk/cancel?name=rare&status=pending,running,failed"
    while path:
        answer = api.post(path).raise_for_status().json()
        done, path = done + [result["id"] for result in answer["results"]], answer["next"]
    assert done == [rare]


def test_tasks_are_paged_by_links(api: httpx.Client) -> None:
    workflow_id = start(api)

    first = api.get(f"/api/v1/workflows/{workflow_id}/tasks?limit=2")
    second = api.get(first.links["next"]["url"])

    assert [task["step"] for task in first.json() + second.json()] == ["a", "b", "c"]
    assert "next" not in second.links


def test_running_lists_exactly_what_was_started_and_has_not_ended(api: httpx.Client, worker: PlayedWorker) -> None:
    assert api.get("/api/v1/workflows/running").json() == []
    ids = [start(api) for _ in range(3)]
    assert api.get("/api/v1/workflows/running").json() == []

    worker.claim(want=2)

    assert [workflow["id"] for workflow in api.get("/api/v1/workflows/running").json()] == ids[:2]


def test_an_unknown_workflow_is_404_everywhere(api: httpx.Client) -> None:
    absent = f"/api/v1/workflows/{uuid.uuid4()}"
    answers = [api.get(f"{absent}{part}") for part in ("", "/tasks", "/dag", "/trace", "/why")]
    answers += [api.post(f"{absent}{part}") for part in ("/cancel", "/retry")]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "workflow-not-found")}


def test_a_pasted_placeholder_and_a_definitions_name_are_explained(api: httpx.Client) -> None:
    workflow_id = start(api)

    placeholder = api.post("/api/v1/workflows/workflow_id/retry")
    braces = api.get("/api/v1/workflows/{workflow_id}/dag")
    name = api.get("/api/v1/workflows/chain/trace")

    for answer in (placeholder, braces):
        assert answer.status_code == 404
        assert "looks like the placeholder; put a real id here" in answer.json()["detail"]
        assert workflow_id in answer.json()["detail"]
    assert name.status_code == 404
    assert workflow_id in name.json()["hint"]


def test_workers_show_what_they_run(api: httpx.Client, worker: PlayedWorker) -> None:
    start(api)
    (claim,) = worker.claim()

    (shown,) = api.get("/api/v1/workers").json()

    assert (shown["name"], shown["status"], shown["concurrency"], shown["busy"]) == ("played", "active", 5, 1)
    assert shown["current_tasks"] == [str(claim["task_id"])]
    assert api.get("/api/v1/workers/dead").json() == []


def test_a_silent_worker_is_dead_and_a_stopped_one_is_gone(
    api: httpx.Client, worker: PlayedWorker, database_url: str
) -> None:
    start(api)
    (claim,) = worker.claim()
    worker.connection.execute(
        "update workflow.workers set last_heartbeat_at = last_heartbeat_at - interval '5 minutes'"
    )

    assert api.get("/api/v1/workers").json() == []
    (dead,) = api.get("/api/v1/workers/dead").json()
    assert (dead["status"], dead["orphaned_tasks"]) == ("dead", [str(claim["task_id"])])
    assert dead["age_s"] > 290

    with PlayedWorker(database_url, "goodbye") as stopped:
        stopped.stop()
    assert api.get("/api/v1/workers").json() == []
    assert [shown["name"] for shown in api.get("/api/v1/workers/dead").json()] == ["played"]
