"""Statistics and slow tasks over HTTP; tests/sql/test_task_durations.py has the numbers."""

from __future__ import annotations

import httpx
import pytest

from .conftest import PlayedWorker


def start(api: httpx.Client) -> str:
    answer = api.post("/api/v1/workflows", json={"name": "w", "steps": [{"id": "a", "type": "noop"}]})
    workflow_id: str = answer.json()["id"]
    return workflow_id


def test_avg_duration_is_a_number_also_when_nothing_ran(api: httpx.Client, worker: PlayedWorker) -> None:
    assert api.get("/api/v1/tasks/stats").json()["avg_duration"] == 0

    start(api)
    worker.run_all()

    stats = api.get("/api/v1/tasks/stats?window=5m").json()
    assert 0 <= stats["avg_duration"] < 60
    assert (stats["count"], stats["succeeded"], stats["window"]) == (1, 1, 300)
    assert list(stats["by_type"]) == ["noop"]
    assert api.get("/api/v1/tasks/stats?type=http").json()["count"] == 0


def test_a_task_that_still_runs_past_the_threshold_is_slow(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api)
    (claim,) = worker.claim()
    assert api.get("/api/v1/tasks/slow").json() == []
    worker.connection.execute("update workflow.tasks set started_at = started_at - interval '2 minutes'")

    (slow,) = api.get("/api/v1/tasks/slow?threshold=60s").json()

    assert (slow["task_id"], slow["workflow_id"]) == (str(claim["task_id"]), workflow_id)
    assert (slow["status"], slow["finished_at"], slow["worker"]) == ("running", None, "played")
    assert 120 <= slow["duration"] < 130
    assert (slow["timeout"], slow["timeout_from"]) == (60, "default")
    assert api.get(slow["links"]["trace"]).status_code == api.get(slow["links"]["task_type"]).status_code == 200
    assert api.get("/api/v1/tasks/slow?threshold=3m").json() == []
    assert len(api.get("/api/v1/tasks/slow?threshold=1&type=noop&limit=1").json()) == 1
    worker.end(claim)
    (ended,) = api.get("/api/v1/tasks/slow").json()
    assert (ended["status"], ended["finished_at"] is not None) == ("succeeded", True)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("stats?window=soon", "window"),
        ("stats?window=0", "window"),
        ("stats?window=8d", "window"),
        ("slow?threshold=-1", "threshold"),
        ("slow?limit=0", "limit"),
        ("slow?treshold=60s", "did you mean"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(shared_api: httpx.Client, query: str, named: str) -> None:
    refused = shared_api.get(f"/api/v1/tasks/{query}")

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-parameter")
    assert named in refused.json()["detail"]
