"""Budgets over REST."""

import httpx
from support.eventually import eventually

from .conftest import PlayedWorker

BODY = {
    "name": "research",
    "budget": {"tokens": {"soft": 50, "hard": 100}},
    "steps": [{"id": "a", "type": "noop"}, {"id": "b", "type": "noop", "depends_on": ["a"]}],
}


def test_a_budget_that_is_used_up_pauses_and_a_higher_one_lets_it_go_on(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    path = api.post("/api/v1/workflows", json=BODY).headers["location"]
    (claim,) = worker.claim()
    worker.end(claim, effects={"usage": {"input_tokens": 80, "output_tokens": 25}})

    shown = api.get(path).json()
    assert shown["budget"]["tokens"] == {"used": 105, "soft": 50, "hard": 100}
    assert (shown["budget"]["exceeded"], shown["pending_reason"]) == (["tokens"], "budget_exceeded:tokens")
    refused = api.post(f"{path}/resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "budget-exceeded")
    eventually(lambda: 'workflow_budget_bounds_reached_total{kind="hard"} 1.0' in api.get("/metrics").text, timeout=10)

    raised = api.post(f"{path}/budget", json={"tokens": {"hard": 500}})
    assert (raised.status_code, raised.json()["tokens"]) == (200, {"used": 105, "soft": None, "hard": 500})
    assert api.get(path).json()["paused_at"] is None
    assert worker.run_all() == 1


def test_a_bad_budget_is_refused_with_the_place(api: httpx.Client) -> None:
    path = api.post("/api/v1/workflows", json=BODY).headers["location"]
    for body, pointer in (
        ({}, ""),
        ({"tokens": {"hard": -1}}, "/tokens/hard"),
        ({"tokens": {"soft": 2, "hard": 1}}, "/tokens/soft"),
        ({"time": 1}, "/time"),
        ({"steps": {"hard": 1}, "on_exceeded": "explode"}, "/on_exceeded"),
    ):
        answer = api.post(f"{path}/budget", json=body)
        assert answer.status_code == 422, body
        assert answer.json()["errors"][0]["pointer"] == pointer
    assert (
        api.post(
            "/api/v1/workflows/0198c2f4-5a3e-7c41-9d3b-0f6b1f0e2a77/budget", json={"steps": {"hard": 1}}
        ).status_code
        == 404
    )
