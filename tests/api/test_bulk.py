"""One operation on many workflows, with a result for each."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from .conftest import PlayedWorker
from .test_workflows import fail_at_b, start


def bulk(api: httpx.Client, what: str, query: str = "", **body: Any) -> dict[str, Any]:
    answer = api.post(f"/api/v1/workflows/bulk/{what}{query}", **({"json": body} if body else {}))
    assert answer.status_code == 200, answer.text
    done: dict[str, Any] = answer.json()
    assert (done["done"], done["unchanged"], done["refused"]) == tuple(
        sum(r["outcome"] == outcome for r in done["results"]) for outcome in ("done", "unchanged", "refused")
    )
    return done


def outcomes(done: dict[str, Any]) -> dict[str, str]:
    return {result["id"]: result["outcome"] for result in done["results"]}


def status(api: httpx.Client, workflow_id: str) -> str:
    return str(api.get(f"/api/v1/workflows/{workflow_id}").json()["status"])


def test_live_workflows_are_cancelled_by_filter_and_the_others_are_left(api: httpx.Client) -> None:
    mine = [start(api, labels={"team": "x"}) for _ in range(2)]
    other, elsewhere = start(api, labels={"team": "y"}), start(api, name="elsewhere", labels={"team": "x"})

    dry = bulk(api, "cancel", "?name=chain&label.team=x&dry_run=true")
    assert (dry["dry_run"], outcomes(dry)) == (True, dict.fromkeys(mine, "done"))
    assert {status(api, workflow) for workflow in mine} == {"pending"}

    done = bulk(api, "cancel", "?name=chain&label.team=x", reason="Wrong input.")

    assert outcomes(done) == dict.fromkeys(mine, "done")
    assert api.get(f"/api/v1/workflows/{mine[0]}").json()["error"]["message"] == "Wrong input."
    assert (status(api, other), status(api, elsewhere)) == ("pending", "pending")
    assert bulk(api, "cancel", "?name=chain&label.team=x")["results"] == [], "they have ended"


def test_what_cannot_be_done_is_told_and_stops_nothing(api: httpx.Client, worker: PlayedWorker) -> None:
    succeeded = start(api)
    worker.run_all()
    cancelled, live = start(api), start(api)
    api.post(f"/api/v1/workflows/{cancelled}/cancel").raise_for_status()
    unknown = "0198c2f4-0000-7000-8000-000000000000"
    ids = [succeeded, "nonsense", cancelled, unknown, live]

    dry = outcomes(bulk(api, "cancel", "?dry_run", ids=ids))
    done = bulk(api, "cancel", ids=ids)

    assert outcomes(done) == dry == {
        succeeded: "refused", "nonsense": "refused", cancelled: "unchanged", unknown: "refused", live: "done",
    }  # fmt: skip
    told = {result["id"]: (result["status"], result.get("code")) for result in done["results"]}
    assert told[succeeded] == ("succeeded", "invalid-transition")
    assert told[unknown] == told["nonsense"] == (None, "workflow-not-found")


def test_failed_workflows_are_retried_page_by_page(api: httpx.Client, worker: PlayedWorker) -> None:
    failed = []
    for _ in range(3):
        failed.append(start(api))
        fail_at_b(worker)
    other = start(api)

    first = bulk(api, "retry", "?status=failed,pending&name=chain&limit=2")
    assert outcomes(first) == {other: "done", failed[2]: "done"}
    assert [result["tasks"] for result in first["results"]] == [0, 2]
    answer = api.post(first["next"])

    assert outcomes(answer.json()) == {failed[1]: "done", failed[0]: "done"}
    assert answer.json()["next"] is None
    assert {status(api, workflow) for workflow in failed} == {"running"}


def test_cancelled_ones_are_retried_only_by_force(api: httpx.Client) -> None:
    workflow = start(api)
    api.post(f"/api/v1/workflows/{workflow}/cancel").raise_for_status()

    assert bulk(api, "retry", "?name=chain")["results"] == []
    assert outcomes(bulk(api, "retry", "?status=cancelled")) == {workflow: "refused"}
    assert outcomes(bulk(api, "retry", "?status=cancelled&force=true&dry_run")) == {workflow: "done"}
    assert outcomes(bulk(api, "retry", "?status=cancelled&force=true")) == {workflow: "done"}


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        ("", None, "validation-error"),
        ("?dry_run=true", {"reason": "x"}, "validation-error"),
        ("?status=done", None, "invalid-parameter"),
        ("?limit=2000&name=x", None, "invalid-parameter"),
        ("?name=x", {"ids": [1]}, "validation-error"),
        ("?name=x", {"ids": ["x"] * 1001}, "out-of-range"),
        ("?name=x", {"id": "x"}, "unknown-property"),
        ("?name=x", {"reason": "x" * 501}, "out-of-range"),
    ],
)
def test_a_request_that_does_not_say_what_is_meant_is_refused(
    query: str, body: Any, code: str, shared_api: httpx.Client
) -> None:
    answer = shared_api.post(f"/api/v1/workflows/bulk/cancel{query}", **({} if body is None else {"json": body}))

    assert (answer.status_code, answer.json()["code"]) == (422, code)
