"""docs/operations.md, roles and Redis: every process works as somebody who may do what it does and nothing else."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from support.cluster import Cluster
from support.documents import chain, fan, flow
from support.eventually import eventually
from support.operations_page import blocks, grant_roles, make_roles, run_statements, url_as
from support.processes import run_engine

from workflow_engine.embedded.places import temporary_data_directory
from workflow_engine.embedded.postgres import Postgres
from workflow_engine.embedded.valkey import Valkey

EVERYTHING = flow(
    "everything",
    {"id": "sum", "type": "transform", "value": "${ input.n + 1 }"},
    {
        "id": "booked", "type": "database", "connection": "engine", "transactional": True,
        "statement": "create table if not exists booked (n integer)", "mode": "execute",
    },
    {"id": "kept", "type": "database", "depends_on": ["booked"]},
    {"id": "each", "type": "count", "for_each": {"items": "${ [1, 2, 3] }"}, "inputs": {"n": []}},
    {"id": "child", "type": "workflow", "inputs": {"name": "childish"}},
    {"id": "told", "type": "emit", "inputs": {"name": "done", "to": "signal"}, "depends_on": ["each"]},
    {"id": "asked", "type": "approval", "inputs": {"prompt": "Go on?"}},
    {"id": "heard", "type": "signal", "inputs": {"name": "go"}},
    concurrency=[{"key": "one at a time", "limit": 1}],
    idempotency={"key": "${ input.n }"},
    budget={"steps": {"hard": 1000}},
)  # fmt: skip


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with Postgres(temporary_data_directory()) as postgres:
        make_roles(postgres)
        owner = url_as(postgres, "workflow_owner")
        migrated = run_engine("migrate", "--grant", "workflow_engine=engine", DATABASE_URL=owner)
        assert migrated.returncode == 0, migrated.stderr
        assert "role workflow_step_" in migrated.stdout
        refused = run_engine("migrate", "--grant", "nobody_of_this_name=engine", DATABASE_URL=owner)
        assert (refused.returncode, "create role nobody_of_this_name" in refused.stderr) == (2, True), refused.stderr
        grant_roles(postgres)
        yield postgres


@pytest.fixture
def redis_of_the_page() -> Iterator[str]:
    """URL of a Redis with the users of the page, as one who may do everything."""
    with Valkey(temporary_data_directory()) as valkey, redis.Redis.from_url(valkey.url) as client:
        for line in blocks("Redis", "")[0].splitlines():
            client.execute_command(*shlex.split(line))
        yield valkey.url


def test_engines_and_workers_do_all_they_do_with_the_roles_of_the_page(
    tmp_path: Path, postgres: Postgres, redis_of_the_page: str
) -> None:
    redis_url = redis_of_the_page.replace("redis://", "redis://engine:engine-secret@")
    cluster = Cluster(tmp_path, postgres.url, redis_url, WORKFLOW_RETENTION_SUCCEEDED_SECONDS="86400")
    as_engine, as_worker = url_as(postgres, "workflow_engine"), url_as(postgres, "workflow_worker")
    try:
        cluster.engine, cluster.url = cluster.begin_engine(DATABASE_URL=as_engine)
        cluster.await_ready()
        cluster.worker(DATABASE_URL=as_worker)
        assert cluster.request(
            "POST", "/api/v1/definitions", json=flow("childish", {"id": "a", "type": "noop"})
        ).is_success
        assert cluster.request("POST", "/api/v1/pause").is_success
        assert cluster.request("POST", "/api/v1/resume").is_success
        plain = cluster.start_many([chain(5), fan(5)])
        cancelled = cluster.start(chain(3, seconds=60))
        assert cluster.request("POST", f"/api/v1/workflows/{cancelled}/cancel").is_success
        whole = cluster.start({**EVERYTHING, "input": {"n": 1}})
        assert cluster.request("POST", f"/api/v1/workflows/{whole}/signal/go", json={}).is_success
        approval = eventually(lambda: cluster.rows("select id::text from workflow.approvals where status = 'open'"), 20)
        answered = cluster.request("POST", f"/api/v1/approvals/{approval[0]['id']}", json={"outcome": "approved"})
        assert answered.is_success, answered.text
        assert set(cluster.await_ends([*plain, whole]).values()) == {"succeeded"}
        assert cluster.request("POST", f"/api/v1/workflows/{whole}/rerun").is_success
        for route in (
            "/metrics",
            "/health",
            "/api/v1/workers",
            "/api/v1/workflows",
            f"/api/v1/workflows/{whole}/trace",
        ):
            assert cluster.request("GET", route).status_code == 200, route
        # A look at Redis may take no more than 250 ms, and the machine may be busy.
        eventually(lambda: cluster.request("GET", "/health").json()["checks"]["redis"]["status"] == "ok", 20)
        with redis.Redis.from_url(redis_of_the_page.replace("redis://", "redis://keda:keda-secret@")) as keda:
            assert keda.eval("return redis.call('llen', KEYS[1])", 1, "workflow:tasks:pending") >= 0
        doctor = run_engine("doctor", DATABASE_URL=as_engine, REDIS_URL=redis_url)
        said = [process.output for process in cluster.processes] + [doctor.stdout]
    finally:
        cluster.close()
    for output in said:
        assert "permission denied" not in output
        assert "failed" not in "".join(line for line in output.splitlines() if "duty" in line)
    assert "fail " not in doctor.stdout


def test_who_was_granted_nothing_is_told_what_to_do(postgres: Postgres) -> None:
    run_statements(url_as(postgres, "workflow_owner"), "select workflow.revoke_access('workflow_engine')")
    nobody = {"DATABASE_URL": url_as(postgres, "workflow_engine"), "REDIS_URL": "redis://127.0.0.1:1"}
    for command in (["doctor"], ["migrate"], ["migrate", "--wait"], ["token", "list"]):
        told = run_engine(*command, **nobody)
        said = told.stdout + told.stderr
        assert (told.returncode, "Traceback" in said) == (1, False), said
        assert "permission denied" in said
        assert "docs/operations.md" in said
