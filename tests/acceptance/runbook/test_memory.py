"""Issue 4, "Worker Memory Exhaustion": rows E01 to E05."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from support.documents import flow, step
from support.eventually import eventually
from support.runbook import COMMANDS
from support.stack import Stack

MIB = 1024**2


def test_e01_the_memory_of_the_workers_is_shown_by_their_label(stack: Stack) -> None:
    rows = stack.shell(COMMANDS["Check worker memory"]).out.splitlines()[1:]
    assert len(rows) == 2
    assert all(row.startswith("workflow-workers-") for row in rows)
    for worker in stack.curl(COMMANDS["Check worker status"]):
        assert worker["rss_bytes"] > 10 * MIB


@pytest.fixture(scope="module")
def operated(running_stack: Stack) -> Iterator[Stack]:
    """The stack after the runbook's three changes to the workers, which are rolled out together."""
    for comment in ("Reduce concurrency", "Enable memory profiling", "Restart workers with new limits"):
        running_stack.shell(COMMANDS[comment])
    running_stack.shell("kubectl rollout status deployment/workflow-workers -n agents")
    yield running_stack
    running_stack.reset()


def test_e02_with_a_concurrency_of_two_no_worker_runs_more_than_two_tasks(operated: Stack) -> None:
    stack = operated
    assert {worker["concurrency"] for worker in stack.curl(COMMANDS["Check worker status"])} == {2}
    workflow = stack.start(flow("e02", *(step(f"s{number}", seconds=0.3) for number in range(10))))
    assert stack.await_end(workflow) == "succeeded"
    together: dict[int, int] = {}
    for entry in stack.ledger.entries():
        if entry.workflow == workflow:
            together[entry.pid] = together.get(entry.pid, 0) + (1 if entry.phase == "start" else -1)
            assert together[entry.pid] <= 2
    assert len(together) == 2, "the other worker did nothing"


def test_e03_the_memory_profiler_says_where_memory_goes_in_lines_and_on_a_page(operated: Stack) -> None:
    stack = operated
    workflow = stack.start(flow("e03", step("a", type="leaks", bytes=32 * MIB)))
    assert stack.await_end(workflow) == "succeeded"
    (task,) = eventually(lambda: stack.said("msg=memory_task", f"workflow_id={workflow}")[:1])
    assert int(re.findall(r" delta=(\d+)", task)[0]) > 10 * MIB
    line = eventually(lambda: stack.said("msg=memory_profile"))[-1]
    assert re.search(r' rss=\d+ .*top="?\S', line)
    for port in stack.facts["worker_metrics"]:
        page = stack.shell(f"curl -s http://127.0.0.1:{port}/debug/memory").out
        assert page.startswith("rss=")


def test_e04_the_workers_know_their_limit(operated: Stack) -> None:
    for port in operated.facts["worker_metrics"]:
        metrics = operated.shell(f"curl -s http://127.0.0.1:{port}/metrics").out
        (limit,) = re.findall(r"^workflow_worker_memory_limit_bytes (\S+)", metrics, re.MULTILINE)
        assert float(limit) == 2 * 1024 * MIB
        assert "workflow_worker_recycles_total" in metrics


@pytest.mark.parametrize(("name", "value"), [("WORKER_CONCURRENCY", "many"), ("MEMORY_PROFILER", "maybe")])
def test_e02_a_value_that_makes_no_sense_ends_the_worker_with_a_clear_line(name: str, value: str) -> None:
    command = [sys.executable, "-m", "workflow_engine.cli", "worker"]
    done = subprocess.run(command, env={**os.environ, name: value}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{name}='{value}'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_e05_payloads_are_bounded_at_the_door_and_in_the_house(stack: Stack) -> None:
    stack.file("large.json").write_text(
        '{"name": "e05", "steps": [{"id": "a", "type": "noop"}], "input": "%s"}' % ("x" * 2**20)
    )
    refused = stack.shell(
        "curl -s -X POST http://localhost:3003/api/v1/workflows -H 'Content-Type: application/json' -d @large.json"
    ).json()
    assert (refused["status"], refused["code"]) == (413, "payload-too-large")

    workflow = stack.start(flow("e05-step", step("a", type="returns-bytes", bytes=2**20 + 1)))
    assert stack.await_end(workflow) == "failed"
    error = eventually(lambda: stack.get(f"/workflows/{workflow}/tasks")[0]["error"])
    assert error["type"] == "payload_too_large"
    assert error["retryable"] is False
