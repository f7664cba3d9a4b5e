"""Orphaned workflows and dead workers, as an operator sees and recovers them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.eventually import eventually

from .conftest import PlayedWorker, engine_settings, running_engine
from .test_workflows import start

PATH = "/api/v1/workflows/recover-orphaned"
UNKNOWN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def api(database_url: str, redis_url: str) -> Iterator[httpx.Client]:
    """An engine that does not sweep while the test looks, and judges soon after its Postgres started."""
    quiet = engine_settings(
        database_url, redis_url, WORKFLOW_SWEEP_SECONDS=3600, WORKFLOW_HEARTBEAT_SECONDS=0.01, WORKFLOW_LEASE_SECONDS=30
    )
    with running_engine(quiet) as client:
        yield client


def die(worker: PlayedWorker) -> None:
    """Its last heartbeat was an hour ago."""
    worker.connection.execute("update workflow.workers set last_heartbeat_at = now() - interval '1 hour'")


def recover(api: httpx.Client, query: str = "", **body: Any) -> dict[str, Any]:
    answer = api.post(PATH + query, json=body) if body else api.post(PATH + query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_nothing_is_orphaned_while_its_worker_beats(api: httpx.Client, worker: PlayedWorker) -> None:
    start(api)
    worker.claim()

    assert api.get("/api/v1/workflows/orphaned").json() == []
    assert recover(api) == {"dry_run": False, "recovered": [], "cancelled": [], "skipped": []}


def test_orphans_are_listed_with_the_reason_and_recovered_once(
    api: httpx.Client, worker: PlayedWorker, database_url: str
) -> None:
    workflow_id = start(api)
    (claim,) = worker.claim()
    die(worker)

    (orphan,) = api.get("/api/v1/workflows/orphaned").json()

    assert (orphan["id"], orphan["status"], orphan["reason"]) == (workflow_id, "running", "worker_dead")
    (task,) = orphan["tasks"]
    assert (task["id"], task["step"], task["worker"]) == (str(claim["task_id"]), "a", "played")
    said = recover(api, "?dry_run=true")
    assert (said["dry_run"], said["recovered"]) == (True, [workflow_id])
    assert len(api.get("/api/v1/workflows/orphaned").json()) == 1
    assert recover(api)["recovered"] == [workflow_id]
    assert recover(api)["recovered"] == []
    assert 'workflow_orphans_recovered_total{reason="worker_dead"}' in api.get("/metrics").text
    with PlayedWorker(database_url, "other") as other:
        (again,) = other.claim()
    assert (again["task_id"], again["attempt"]) == (claim["task_id"], 2)


def test_orphans_are_cancelled_on_request(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api)
    worker.claim()
    die(worker)

    assert recover(api, "?action=cancel")["cancelled"] == [workflow_id]
    assert api.get(f"/api/v1/workflows/{workflow_id}").json()["status"] == "cancelled"


def test_only_the_ids_given_are_recovered_and_others_are_skipped_with_the_reason(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    left, wanted = start(api), start(api)
    worker.claim()
    die(worker)

    done = recover(api, ids=["nonsense", wanted, UNKNOWN, wanted])

    assert done["recovered"] == [wanted]
    assert {s["id"]: s["why"] for s in done["skipped"]} == {
        "nonsense": "There is no workflow with this id.",
        UNKNOWN: "There is no workflow with this id.",
    }
    assert [orphan["id"] for orphan in api.get("/api/v1/workflows/orphaned").json()] == [left]
    assert recover(api, ids=[])["recovered"] == []


@pytest.mark.parametrize(
    ("query", "body", "slug"),
    [
        ("?action=restart", {}, "invalid-parameter"),
        ("?dry_run=perhaps", {}, "invalid-parameter"),
        ("", {"ids": "all"}, "validation-error"),
        ("", {"ids": [1]}, "validation-error"),
        ("", {"id": ["x"]}, "unknown-property"),
    ],
)
def test_a_bad_request_to_recover_is_refused(
    query: str, body: dict[str, Any], slug: str, shared_api: httpx.Client
) -> None:
    answer = shared_api.post(PATH + query, json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, slug)


def test_a_dead_worker_shows_what_it_held_after_it_was_taken_over(api: httpx.Client, worker: PlayedWorker) -> None:
    start(api)
    (claim,) = worker.claim()
    assert api.get("/api/v1/workers/dead").json() == []
    die(worker)
    (before,) = api.get("/api/v1/workers/dead").json()
    recover(api)

    (after,) = api.get("/api/v1/workers/dead").json()

    assert before["orphaned_tasks"] == after["orphaned_tasks"] == [str(claim["task_id"])]
    assert (before["current_tasks"], after["current_tasks"]) == ([str(claim["task_id"])], [])


def test_a_worker_that_stopped_is_never_dead(api: httpx.Client, worker: PlayedWorker) -> None:
    worker.stop()
    die(worker)

    assert api.get("/api/v1/workers/dead").json() == []


def test_the_engine_counts_what_it_takes_back_by_itself(
    database_url: str, redis_url: str, worker: PlayedWorker
) -> None:
    settings = engine_settings(
        database_url,
        redis_url,
        WORKFLOW_SWEEP_SECONDS=0.1,
        WORKFLOW_HEARTBEAT_SECONDS=0.05,
        WORKFLOW_LEASE_SECONDS=0.2,
    )
    with running_engine(settings) as api:
        start(api)
        worker.claim()
        before = recovered_of_the_dead(api)
        die(worker)
        worker.connection.execute("update workflow.tasks set lease_until = 'epoch' where status = 'running'")
        eventually(lambda: recovered_of_the_dead(api) > before)


def recovered_of_the_dead(api: httpx.Client) -> float:
    (line,) = (
        line
        for line in api.get("/metrics").text.splitlines()
        if line.startswith('workflow_orphans_recovered_total{reason="worker_dead"}')
    )
    return float(line.rpartition(" ")[2])
