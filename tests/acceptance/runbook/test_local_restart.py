"""Restarting on one machine: what rows J02 and J03 need. J01 needs containers (see `test_rows`)."""

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.cluster import environment
from support.processes import EngineProcess
from support.stack import Stack

_ROOT = Path(__file__).parents[3]


@pytest.fixture
def worker(stack: Stack, tmp_path: Path) -> Iterator[EngineProcess]:
    """One beside those of the stack, started as the page says."""
    env = {**environment(stack.ledger), "DATABASE_URL": stack.facts["database_url"], "WORKER_METRICS_PORT": "0"}
    worker = EngineProcess("worker", env={**env, "WORKFLOW_QUEUES": "nobody"}, log=tmp_path / "log", cold=True)
    worker.says("worker registered", 60)
    yield worker
    worker.kill()


def test_j02_a_worker_is_one_command_and_the_page_says_which(worker: EngineProcess) -> None:
    assert "workflow-engine worker" in " ".join(psutil.Process(worker.pid).cmdline())


def test_j03_pkill_finds_every_process_of_ours_and_npm_starts_them_again(stack: Stack, worker: EngineProcess) -> None:
    found = {int(pid) for pid in stack.shell("pgrep -f workflow-engine").out.split()}
    assert {worker.pid, *stack.pids("engines"), *stack.pids("workers")} <= found
    package = json.loads((_ROOT / "package.json").read_text())
    assert package["scripts"] == {"start:workflow": ".venv/bin/workflow-engine dev"}
