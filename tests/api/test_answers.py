"""What every answer has, and what is answered when nobody is ready for it."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack

import httpx
import pytest
from fastapi import FastAPI
from support.eventually import eventually
from support.silence import SilencedPostgres

from workflow_engine.api.health import CHECK_SECONDS

from .conftest import NOWHERE, engine_settings, running_engine

PATIENT = 5  # how much longer all may take on a busy machine; without a cap it were minutes


def test_every_answer_has_an_id_and_safe_headers(shared_api: httpx.Client) -> None:
    for answer in (shared_api.get("/api/v1/workflows"), shared_api.get("/nothing"), shared_api.get("/health")):
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.content.endswith(b"\n")


def test_a_request_may_bring_its_own_id_unless_it_is_unsafe(shared_api: httpx.Client) -> None:
    ids = {
        given: shared_api.get("/api/v1/livez", headers={"X-Request-Id": given}).headers["x-request-id"]
        for given in ("order-7.a_B", "a b", "x" * 65)
    }

    assert ids["order-7.a_B"] == "order-7.a_B"
    assert all(re.fullmatch("[0-9a-f]{32}", ids[given]) for given in ("a b", "x" * 65))


def test_pretty_indents(shared_api: httpx.Client) -> None:
    assert shared_api.get("/api/v1/livez").text == '{"status":"ok"}\n'
    assert shared_api.get("/api/v1/livez?pretty").text == '{\n  "status": "ok"\n}\n'
    assert "\n  " in shared_api.get("/nothing?pretty").text


def test_head_and_options_are_answered(shared_api: httpx.Client) -> None:
    get, head = shared_api.get("/api/v1/workers"), shared_api.head("/api/v1/workers")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]

    options = shared_api.options("/api/v1/workflows")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html, application/*;q=0.5"])
def test_whoever_takes_json_gets_it(accept: str, shared_api: httpx.Client) -> None:
    assert shared_api.get("/api/v1/workers", headers={"Accept": accept}).status_code == 200


def test_a_bug_is_answered_without_a_word_about_the_code(
    shared_api: httpx.Client, database_url: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import psycopg

    with running_engine(engine_settings(database_url, redis_url)) as api:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("alter table workflow.workers rename to elsewhere")
            connection.execute("drop view workflow.worker_list")
        answer = api.get("/api/v1/workers")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:workflow-engine:problem:internal-error"
    assert "worker_list" not in answer.text
    logged = capsys.readouterr().out
    assert answer.headers["x-request-id"] in logged
    assert "UndefinedTable" in logged


def test_health_tells_each_dependency_and_stands_in_two_places(shared_api: httpx.Client) -> None:
    # A machine that is busy may keep Redis from answering in its quarter of a second.
    eventually(lambda: shared_api.get("/health").json()["checks"]["redis"]["status"] == "ok")
    root, versioned = shared_api.get("/health"), shared_api.get("/api/v1/health")

    assert (root.status_code, versioned.status_code) == (200, 200)
    assert root.json() == versioned.json()
    report = root.json()
    assert (report["status"], report["accepting"], report["deadlock_detection"]) == ("degraded", True, "warn")
    assert {name: check["status"] for name, check in report["checks"].items()} == {
        "postgres": "ok",
        "redis": "ok",
        "workers": "down",
        "agent_mesh": "down",
        "agent_brain": "down",
    }


def test_a_dependency_that_hangs_delays_health_by_its_cap_once_and_then_not_at_all(
    database_url: str, redis_url: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with running_engine(engine_settings(database_url, redis_url, AGENT_MESH_URL=url)) as api:
            first = api.get("/health")
            later = [api.get("/health").elapsed.total_seconds() for _ in range(5)]

    assert first.json()["checks"]["agent_mesh"] == {"status": "down", "error": f"No answer within {CHECK_SECONDS:g} s."}
    assert first.elapsed.total_seconds() < PATIENT * CHECK_SECONDS
    assert min(later) < CHECK_SECONDS / 4


def test_a_postgres_that_falls_silent_is_told_within_the_cap_and_not_by_what_was_found_before(
    database_url: str, redis_url: str
) -> None:
    with SilencedPostgres(database_url) as postgres, running_engine(engine_settings(postgres.url, redis_url)) as api:
        eventually(lambda: api.get("/health").status_code == 200)
        with postgres.silent():
            health, again, ready = api.get("/health"), api.get("/health"), api.get("/readyz")
        eventually(lambda: api.get("/health").status_code == 200)

    for answer in (health, again):
        assert (answer.status_code, answer.json()["accepting"]) == (503, False)
        assert answer.json()["checks"]["postgres"] == {
            "status": "down",
            "error": f"No answer within {CHECK_SECONDS:g} s.",
        }
    assert ready.status_code == 503
    assert health.elapsed.total_seconds() < 2 * PATIENT * CHECK_SECONDS


def test_an_engine_ends_though_its_postgres_has_fallen_silent(database_url: str, redis_url: str) -> None:
    with (
        SilencedPostgres(database_url) as postgres,
        ExitStack() as silence,
        running_engine(engine_settings(postgres.url, redis_url)) as api,
    ):
        eventually(lambda: "workflow_engine_leader 1.0" in api.get("/metrics").text)
        eventually(lambda: api.get("/readyz").status_code == 200)
        silence.enter_context(postgres.silent())
        assert api.get("/health").status_code == 503
        # Leaving the block waits for the engine.


def test_without_postgres_the_engine_lives_is_not_ready_and_says_so(redis_url: str) -> None:
    with running_engine(engine_settings("postgresql://nobody@127.0.0.1:9/nothing", redis_url)) as api:
        health, ready, live = api.get("/health"), api.get("/readyz"), api.get("/livez")
        listed = api.get("/api/v1/workflows")

    assert (health.status_code, health.json()["accepting"]) == (503, False)
    assert health.json()["checks"]["postgres"]["status"] == "down"
    assert live.status_code == 200
    for answer in (ready, listed):
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:workflow-engine:problem:unavailable"
        assert int(answer.headers["retry-after"]) >= 1


def test_an_engine_on_a_database_without_schema_becomes_ready_when_it_is_migrated(
    empty_database_url: str, redis_url: str
) -> None:
    from workflow_engine.bootstrap import migrate

    with running_engine(engine_settings(empty_database_url, redis_url)) as api:
        assert api.get("/readyz").status_code == 503
        assert "workflow-engine migrate" in api.get("/health").json()["checks"]["postgres"]["error"]
        migrate(empty_database_url)
        eventually(lambda: api.get("/readyz").status_code == 200)


def test_without_redis_the_engine_is_degraded_and_ready(database_url: str) -> None:
    with running_engine(engine_settings(database_url, NOWHERE.replace("http", "redis"))) as api:
        assert api.get("/readyz").status_code == 200
        health = api.get("/health")

    assert (health.status_code, health.json()["checks"]["redis"]["status"]) == (200, "down")


def test_metrics_count_requests_by_route_and_not_by_path(shared_api: httpx.Client) -> None:
    shared_api.get("/api/v1/workflows/00000000-0000-0000-0000-000000000007")
    shared_api.get("/nothing/at/all")

    metrics = shared_api.get("/metrics").text

    labels = 'method="GET",route="/api/v1/workflows/{workflow_id}",status="404"'
    assert f"http_request_duration_seconds_count{{{labels}}}" in metrics
    assert 'route="unmatched"' in metrics
    assert "00000000-0000" not in metrics
    assert "/nothing/at/all" not in metrics
    assert "workflow_build_info{" in metrics


def test_the_application_is_made_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, database_url: str, redis_url: str
) -> None:
    from workflow_engine.asgi import create_app

    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)

    assert isinstance(create_app(), FastAPI)
