"""Workers over HTTP: listed, drained, undrained."""

from __future__ import annotations

import httpx
import pytest

from .conftest import PlayedWorker


def test_a_drained_worker_claims_nothing_until_it_is_undrained(api: httpx.Client, worker: PlayedWorker) -> None:
    api.post("/api/v1/workflows", json={"name": "w", "steps": [{"id": "a", "type": "noop"}]}).raise_for_status()
    (listed,) = api.get("/api/v1/workers").json()
    assert (listed["status"], listed["drained_at"]) == ("active", None)

    drained = api.post(f"/api/v1/workers/{listed['id']}/drain")

    assert (drained.status_code, drained.json()["status"], drained.json()["status_reason"]) == (
        200, "draining", "operator",
    )  # fmt: skip
    assert api.get("/api/v1/workers").json()[0]["drained_at"] == drained.json()["drained_at"]
    assert worker.claim() == []
    assert api.post(f"/api/v1/workers/{listed['id']}/undrain").json()["status"] == "active"
    assert len(worker.claim()) == 1


@pytest.mark.parametrize("action", ["drain", "undrain"])
def test_a_worker_that_is_not_there_or_is_gone_is_refused(api: httpx.Client, worker: PlayedWorker, action: str) -> None:
    for unknown in ("4711", "w-1", "9" * 30, "%00"):
        absent = api.post(f"/api/v1/workers/{unknown}/{action}")
        assert (absent.status_code, absent.json()["code"]) == (404, "worker-not-found"), unknown
    worker.stop()
    gone = api.post(f"/api/v1/workers/{worker.id}/{action}")
    assert (gone.status_code, gone.json()["code"]) == (409, "invalid-transition")
