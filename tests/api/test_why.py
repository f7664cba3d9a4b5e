"""Why a workflow does not go on, over HTTP; tests/sql/test_why.py has the reasons."""

from __future__ import annotations

import httpx

from .conftest import PlayedWorker


def test_the_reasons_are_listed_with_the_command_that_helps(api: httpx.Client, worker: PlayedWorker) -> None:
    steps = [{"id": "a", "type": "noop", "queue": "gpu"}, {"id": "b", "type": "noop", "depends_on": ["a"]}]
    workflow = api.post("/api/v1/workflows", json={"name": "w", "steps": steps}).json()

    reasons = api.get(workflow["links"]["why"]).json()

    assert [(row["step"], row["reason"]) for row in reasons] == [
        ("a", "no_worker_for_queue"),
        ("b", "waiting_dependency"),
    ]
    assert reasons[0]["explanation"].startswith("No live worker serves queue gpu")
    assert reasons[0]["command"].startswith("kubectl ")
    assert reasons[0]["since"].endswith("Z")
    path = workflow["links"]["self"]
    assert api.get(path).json()["pending_reason"] == "no_worker_for_queue:gpu"
    assert "pending_reason" not in api.get("/api/v1/workflows").json()[0]
    worker.connection.execute("delete from workflow.workers")
    assert api.get(path).json()["pending_reason"] == "no_workers"
    api.post(f"{path}/cancel")
    assert api.get(f"{path}/why").json() == []
    assert api.get(path).json()["pending_reason"] is None


def test_the_reasons_come_in_pages(api: httpx.Client) -> None:
    steps = [{"id": f"s{n}", "type": "noop"} for n in range(5)]
    path = api.post("/api/v1/workflows", json={"name": "w", "steps": steps}).json()["links"]["why"]

    seen: list[str] = []
    url: str | None = f"{path}?limit=2"
    while url:
        page = api.get(url)
        seen += [row["step"] for row in page.json()]
        url = page.links["next"]["url"] if "next" in page.links else None

    assert seen == [f"s{n}" for n in range(5)]
