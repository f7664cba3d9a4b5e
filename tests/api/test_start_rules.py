"""What definitions ask for at the start of their workflows, over REST: idempotency, concurrency keys."""

from typing import Any

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

STEP = {
    "id": "a", "type": "noop", "queue": "default", "priority": 0, "dependencies": [], "ordering": [], "successors": [],
    "refs": [], "uses_input": False, "tolerated": False,
}  # fmt: skip


@pytest.fixture
def define(api: httpx.Client, database_url: str) -> Any:
    """Registers the definition `flow` with a plan, as its compiler would."""

    def define(**plan: Any) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "select workflow.register_definition('flow', %s, md5(%s::text), %s, %s)",
                [Jsonb({"name": "flow"}), str(plan), Jsonb(plan), Jsonb([STEP])],
            )

    return define


def start(api: httpx.Client, **body: Any) -> httpx.Response:
    return api.post("/api/v1/workflows", json={"name": "flow", **body})


def test_a_start_that_was_made_before_is_answered_with_that(api: httpx.Client, define: Any) -> None:
    define(
        idempotency={
            "key": [{"path": ["input", "order"]}],
            "on_conflict": "return_existing",
            "ttl": 60,
        }
    )
    first = start(api, input={"order": 1})
    again = start(api, input={"order": 1})
    assert (first.status_code, first.json()["existing"]) == (202, False)
    assert (again.status_code, again.json()["existing"], again.json()["id"]) == (202, True, first.json()["id"])
    assert again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    batch = api.post("/api/v1/workflows/batch", json=[{"name": "flow", "input": {"order": n}} for n in (1, 2)])
    assert [one["existing"] for one in batch.json()] == [True, False]


def test_a_start_that_lacks_what_the_key_is_made_of_is_refused(api: httpx.Client, define: Any) -> None:
    define(idempotency={"key": [{"path": ["input", "order"]}], "on_conflict": "reject", "ttl": 60})
    answer = start(api)
    assert (answer.status_code, answer.json()["code"]) == (422, "key-missing")
    assert "input.order" in answer.json()["detail"]


def test_rejections_name_the_workflow_that_is_in_the_way(api: httpx.Client, define: Any) -> None:
    define(idempotency={"key": [{"path": ["input", "order"]}], "on_conflict": "reject", "ttl": 60})
    first = start(api, input={"order": 1}).json()
    problem = start(api, input={"order": 1})
    assert (problem.status_code, problem.json()["code"]) == (409, "already-started")
    assert problem.json()["workflow_id"] == first["id"]

    define(concurrency=[{"key": [{"text": "one"}], "limit": 1, "on_conflict": "reject"}])
    first = start(api).json()
    problem = start(api)
    assert (problem.status_code, problem.json()["code"]) == (409, "concurrency-limit")
    assert problem.json()["workflow_id"] == first["id"]


def test_a_workflow_in_line_is_accepted_and_says_behind_whom(api: httpx.Client, define: Any) -> None:
    define(concurrency=[{"key": [{"text": "one"}], "limit": 1, "on_conflict": "queue"}])
    first, second = start(api).json(), start(api)
    assert second.status_code == 202
    shown = api.get(second.headers["location"]).json()
    assert (shown["status"], shown["pending_reason"]) == ("pending", f"queued_behind:{first['id']}")
    api.post(f"/api/v1/workflows/{first['id']}/cancel")
    assert not api.get(second.headers["location"]).json()["pending_reason"].startswith("queued_behind")
