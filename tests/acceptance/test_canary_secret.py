"""A secret that workflows use in every way, and that targets and handlers repeat, is found nowhere afterwards."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import psycopg
import pytest
import redis
from integration.handlers.target import Answer, Target
from support import canary_handlers
from support.cluster import Cluster

from workflow_engine.embedded.places import free_port

GIVEN = 'cän@ry/"g1ven"+\\of the environment'
MOUNTED = "canary-m0unt3d-as-a-file-0123456789"
MODEL_KEY = "canary-k3y0f-the-model-0123456789"
CANARIES = (GIVEN, MOUNTED, MODEL_KEY)
SECRET = "${ secrets.GIVEN }"


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as target:
        target.answers["/llm/chat/completions"] = Answer({"error": f"Incorrect API key provided: {MODEL_KEY}"}, 401)
        yield target


def document(name: str, type: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "steps": [{"id": "a", "type": type, **fields}]}


def documents(target: Target) -> dict[str, dict[str, Any]]:
    """Workflows by how they should end."""
    echo = {"url": f"{target.url}/echo", "method": "POST"}
    sql = {"params": {"k": SECRET}}
    return {
        "succeeded": document(
            "echoed", "http", **echo, headers={"X-Key": SECRET}, query={"k": SECRET}, body={"k": SECRET},
            auth={"basic": {"username": "me", "password": "${ secrets.MOUNTED }"}},
        ),
        "succeeded ": document("text", "http", **echo, body=f"x{SECRET}", headers={"Content-Type": "text/plain"}),
        "succeeded  ": document("careless", "careless", inputs={"secret": SECRET}),
        "succeeded   ": document("queried", "database", statement="SELECT %(k)s::text AS k", **sql),
        "succeeded    ": document(
            "transactional", "database", statement="SELECT %(k)s::text AS k", transactional=True, **sql
        ),
        "failed": document("refused", "http", **echo, body={"k": SECRET}, success_when="false", retries=0),
        "failed ": document("unreachable", "http", url=f"http://127.0.0.1:1/{SECRET}?k={SECRET}", retries=0),
        "failed  ": document("broken", "careless", inputs={"secret": SECRET, "fails": True}),
        "failed   ": document("lost", "careless-thread", inputs={"secret": SECRET}),
        "failed    ": document("no-number", "database", statement="SELECT %(k)s::int AS k", **sql),
        "failed     ": document("model", "llm_inference", prompt="?", model="m"),
        "failed      ": document("header", "http", **echo, headers={"X-Key": "${ secrets.GIVEN + '\\n' }"}),
    }  # fmt: skip


def forms(canary: str) -> set[str]:
    """How it may be written; and the middle of it, which stands in most of these."""
    encoded = [base64.b64encode(f"{before}{canary}".encode()).decode() for before in ("", "me:", "x", "Bearer ")]
    escaped = [json.dumps(canary)[1:-1], json.dumps(canary, ensure_ascii=False)[1:-1]]
    return {canary, quote(canary), quote(canary, safe=""), quote_plus(canary), *escaped, *encoded, canary[8:13]}


def found(text: str) -> list[str]:
    return [
        f"{form!r} in ...{text[max(0, at - 200) : at + 200]}..."
        for canary in CANARIES
        for form in forms(canary)
        if (at := text.find(form)) >= 0
    ]


def dump(database_url: str) -> dict[str, str]:
    """Every row of every table, as text."""
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname !~ '^pg_|information_schema' and c.relkind in ('r', 'p')"
        ).fetchall()
        rows = {
            table: connection.execute(
                f"select coalesce(string_agg(to_jsonb(t)::text, ' '), '') from {table} t".encode()
            )
            for (table,) in tables
        }
        return {table: str(cursor.fetchone()[0]) for table, cursor in rows.items()}  # type: ignore[index]


def redis_content(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        content = []
        for key in client.keys("*"):
            kind = client.type(key)
            read = {b"string": client.get, b"hash": client.hgetall, b"set": client.smembers}
            content.append((key, read[kind](key) if kind in read else client.lrange(key, 0, -1)))
        return repr(content)


def api(cluster: Cluster, workflows: list[str]) -> dict[str, str]:
    """What anybody sees of them, and of the engine."""
    paths = ["/metrics", "/health", "/api/v1/workflows", "/api/v1/definitions", "/api/v1/task-types", "/api/v1/outbox"]
    parts = ("", "/tasks", "/logs", "/why", "/trace", "/graph")
    paths += [f"/api/v1/workflows/{workflow}{part}" for workflow in workflows for part in parts]
    return {path: cluster.request("GET", path).text for path in paths}


def test_a_secret_is_found_nowhere(database_url: str, redis_url: str, tmp_path: Path, target: Target) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "MOUNTED").write_text(f"{MOUNTED}\n")
    port = free_port()
    cluster = Cluster(
        tmp_path, database_url, redis_url,
        WORKFLOW_INCLUDE=canary_handlers.__name__, WORKFLOW_SECRET_GIVEN=GIVEN,
        WORKFLOW_SECRETS_DIR=str(tmp_path / "secrets"), WORKFLOW_LLM_API_KEY=MODEL_KEY,
        WORKFLOW_LLM_BASE_URL=f"{target.url}/llm", LOG_LEVEL="debug", WORKER_METRICS_PORT=str(port),
    )  # fmt: skip
    try:
        cluster.up()
        wanted = documents(target)
        started = {cluster.start(document): (document["name"], status.strip()) for status, document in wanted.items()}
        ended = cluster.await_ends([*started])
        assert {started[workflow][0]: status for workflow, status in ended.items()} == dict(started.values())
        received = " ".join(str(request) for request in target.received)
        assert base64.b64encode(f"me:{MOUNTED}".encode()).decode() in received, "the targets got them"
        assert MODEL_KEY in received
        places = {
            **dump(database_url),
            "redis": redis_content(redis_url),
            "metrics of the worker": httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text,
            **api(cluster, [*ended]),
        }
    finally:
        cluster.close()
    places |= {str(path): path.read_text() for path in tmp_path.rglob("*.log")}
    assert {place: where for place, text in places.items() if (where := found(text))} == {}
    shown = {place for place, text in places.items() if "***" in text}
    taken_out = {"workflow.tasks", "workflow.records", "workflow.task_logs", "workflow.events"}
    assert taken_out <= shown, "something was taken out there"
    assert any(place.endswith("worker.log") for place in shown)
