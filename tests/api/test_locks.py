"""Locks over HTTP: who holds them, who waits, and taking them away."""

from __future__ import annotations

import httpx

from .conftest import PlayedWorker

STEPS = [
    {"id": "post", "type": "noop", "locks": ["ledger"], "limits": [{"key": "openai", "concurrency": 8, "units": 2}]}
]


def start(api: httpx.Client) -> str:
    answer = api.post("/api/v1/workflows", json={"name": "books", "steps": STEPS})
    assert answer.status_code == 202, answer.text
    workflow_id: str = answer.json()["id"]
    return workflow_id


def test_locks_are_shown_with_holders_and_the_line(api: httpx.Client, worker: PlayedWorker) -> None:
    assert api.get("/api/v1/locks").json() == []
    holder, waiter = start(api), start(api)
    (claim,) = worker.claim()
    lock, limit = api.get("/api/v1/locks").json()
    assert (lock["kind"], lock["key"], lock["used"], lock["waiting"]) == ("lock", "ledger", 1, 1)
    assert [h["workflow_id"] for h in lock["holders"]] == [holder]
    assert [(w["workflow_id"], w["step"]) for w in lock["waiters"]] == [(waiter, "post")]
    assert (limit["kind"], limit["used"], limit["capacity"], limit["holding"]) == ("limit", 2, 8, 1)
    assert lock["capacity"] is None
    worker.end(claim)
    worker.run_all()
    assert api.get("/api/v1/locks").json() == []


def test_locks_and_limits_come_in_pages_locks_first(api: httpx.Client, worker: PlayedWorker) -> None:
    for n in range(3):
        step = {"id": "a", "type": "noop", "locks": [f"l{n}"], "limits": [{"key": f"k{n}", "concurrency": 1}]}
        api.post("/api/v1/workflows", json={"name": f"of-{n}", "steps": [step]}).raise_for_status()
    worker.claim()
    found, path = [], "/api/v1/locks?limit=2"
    while path:
        page = api.get(path)
        found.append([f"{lock['kind']} {lock['key']}" for lock in page.json()])
        path = page.links["next"]["url"] if "next" in page.links else ""
    assert found == [["lock l0", "lock l1"], ["lock l2", "limit k0"], ["limit k1", "limit k2"]]
    assert [lock["key"] for lock in api.get("/api/v1/locks?prefix=k").json()] == ["k0", "k1", "k2"]
    assert [lock["key"] for lock in api.get("/api/v1/locks?prefix=l2").json()] == ["l2"]


def test_released_locks_go_to_who_waits(api: httpx.Client, worker: PlayedWorker) -> None:
    holder, waiter = start(api), start(api)
    (claim,) = worker.claim()
    released = api.post(f"/api/v1/workflows/{holder}/release-locks")
    assert (released.status_code, released.json()["locks"], released.json()["tasks"]) == (200, ["ledger"], 1)
    fields = {name: claim[name] for name in ("task_id", "attempt", "lease_token")}
    assert worker.turn({**fields, "outcome": "succeeded"})["stale"] == [0]
    (claim,) = worker.claim()
    assert claim["workflow_id"] == waiter
    worker.end(claim)
    assert worker.run_all() == 1
    again = api.post(f"/api/v1/workflows/{holder}/release-locks")
    assert (again.status_code, again.json()["locks"]) == (200, [])
    assert api.post("/api/v1/workflows/00000000-0000-0000-0000-000000000007/release-locks").status_code == 404


def test_a_definition_with_a_bad_key_is_refused_at_its_place(api: httpx.Client) -> None:
    steps = [{"id": "a", "type": "noop", "locks": ["order-${ input.id }"]}]
    refused = api.post("/api/v1/workflows", json={"name": "bad", "steps": steps})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/steps/0/locks/0"


def test_the_graph_of_a_workflow_shows_the_circle_it_is_on(api: httpx.Client, worker: PlayedWorker) -> None:
    workflows = []
    for name, mine, other in (("one", "x", "y"), ("two", "y", "x")):
        steps = [
            {"id": "take", "type": "noop", "locks": [{"key": mine, "scope": "workflow"}]},
            {"id": "want", "type": "noop", "depends_on": ["take"], "locks": [{"key": other, "scope": "workflow"}]},
        ]
        workflows.append(api.post("/api/v1/workflows", json={"name": name, "steps": steps}).json()["id"])
    paths = [f"/api/v1/workflows/{workflow}/dag" for workflow in workflows]
    for claim in worker.claim():
        worker.end(claim)
    assert worker.claim() == []

    assert [api.get(path).json()["cycles"] for path in paths] == [[sorted(workflows)]] * 2
    assert api.get(paths[0]).json()["waiting_on"] == {"want": ["lock:y"]}
    api.post(f"/api/v1/workflows/{workflows[0]}/cancel")
    assert api.get(paths[1]).json()["cycles"] == []
    assert worker.run_all() == 1
