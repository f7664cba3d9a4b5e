"""Pausing over HTTP: the intake, the drain loop, health, and one workflow."""

from __future__ import annotations

import httpx
import pytest
from support.eventually import eventually

from .conftest import PlayedWorker, engine_settings, running_engine

STEPS = [{"id": "a", "type": "noop"}, {"id": "b", "type": "noop", "depends_on": ["a"]}]


def start(api: httpx.Client, name: str = "paused") -> httpx.Response:
    return api.post("/api/v1/workflows", json={"name": name, "steps": STEPS})


def test_pause_drain_restart_and_resume_as_in_a_graceful_restart(
    database_url: str, redis_url: str, worker: PlayedWorker
) -> None:
    settings = engine_settings(database_url, redis_url)
    with running_engine(settings) as api:
        running = start(api).json()["id"]
        (claim,) = worker.claim()
        pending = start(api).json()["id"]
        first, second = api.post("/api/v1/pause"), api.post("/api/v1/pause")
        assert (first.status_code, first.json()) == (200, second.json())
        assert (first.json()["paused"], first.json()["running"], first.json()["until"]) == (True, 1, None)
        assert [w["id"] for w in api.get("/api/v1/workflows/running").json()] == [running]
        worker.end(claim)
        assert worker.run_all() == 1
        assert api.get("/api/v1/workflows/running").json() == []
    with running_engine(settings) as api:
        eventually(lambda: api.get("/health").status_code == 200)  # 503 while Postgres takes longer than a second
        health = api.get("/health").json()
        assert (health["accepting"], health["paused"]) == (False, True)
        assert api.get("/readyz").status_code == 200
        resumed = api.post("/api/v1/resume")
        assert (resumed.status_code, resumed.json()) == (
            200,
            {"paused": False, "since": None, "until": None, "by": None, "reason": None, "running": 0},
        )
        health = api.get("/health").json()
        assert (health["accepting"], health["paused"]) == (True, False)
        assert worker.run_all() == 2
        assert api.get(f"/api/v1/workflows/{pending}").json()["status"] == "succeeded"


def test_a_start_on_a_paused_engine_is_refused_and_writes_nothing(
    api: httpx.Client, database_url: str, written: object
) -> None:
    api.post("/api/v1/pause")
    before = written(database_url)  # type: ignore[operator]
    for answer in (start(api), api.post("/api/v1/workflows/batch", json=[{"name": "x", "steps": STEPS}])):
        assert (answer.status_code, answer.json()["code"]) == (503, "engine-paused")
        assert int(answer.headers["retry-after"]) >= 1
        assert "resume" in answer.json()["hint"]
    assert written(database_url) == before  # type: ignore[operator]
    api.post("/api/v1/resume")
    assert start(api).status_code == 202


def test_a_pause_with_a_time_ends_by_itself(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow = start(api).json()["id"]
    paused = api.post("/api/v1/pause?ttl=300ms").json()
    assert paused["until"] > paused["since"]
    eventually(lambda: worker.run_all() > 0)
    assert api.get(f"/api/v1/workflows/{workflow}").json()["status"] == "succeeded"
    assert api.get("/health").json()["accepting"] is True


@pytest.mark.parametrize("ttl", ["0", "-1s", "soon", "400d"])
def test_a_bad_time_is_refused(shared_api: httpx.Client, ttl: str) -> None:
    answer = shared_api.post(f"/api/v1/pause?ttl={ttl}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-parameter")
    assert shared_api.get("/health").json()["paused"] is False


def test_one_workflow_is_held_back_and_goes_on(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow = start(api).json()["id"]
    path = f"/api/v1/workflows/{workflow}"
    (claim,) = worker.claim()
    paused = api.post(f"{path}/pause")
    assert (paused.status_code, paused.json()["paused"], paused.json()["status"]) == (200, True, "running")
    assert api.post(f"{path}/pause").json() == paused.json()
    assert api.get(path).json()["paused_at"] == paused.json()["since"]
    assert len(api.get("/api/v1/workflows/running").json()) == 1
    worker.end(claim)
    assert worker.run_all() == 0
    assert api.get("/api/v1/workflows/running").json() == []
    assert [w["id"] for w in api.get("/api/v1/workflows/running?include=waiting").json()] == [workflow]

    resumed = api.post(f"{path}/resume")
    assert (resumed.status_code, resumed.json()["paused"], resumed.json()["since"]) == (200, False, None)
    assert worker.run_all() == 1
    for action in ("pause", "resume"):
        ended = api.post(f"{path}/{action}")
        assert (ended.status_code, ended.json()["code"]) == (409, "invalid-transition")
    assert api.post("/api/v1/workflows/{workflow_id}/pause").status_code == 404
