"""Issue 3, "Parallel Execution Deadlock": two workflows each keep a lock to their end and want the other's."""

from __future__ import annotations

import json
from pathlib import Path

from support.documents import Document, flow, step
from support.eventually import eventually
from support.runbook import COMMANDS
from support.stack import Stack

from drills.finding import Finding

NUMBER, TITLE = 3, "parallel execution deadlock"
PHRASE = "Circular dependency detected"


def run(stack: Stack) -> Finding:
    cured = [by_deleting_a_lock(stack), by_cancelling(stack), by_detection(stack)]
    return Finding(
        seen=[
            "both wait in dag, and why says deadlock",
            "two keys workflow:lock:*",
            f'"{PHRASE}: a -> b -> a" in the log',
        ],
        cured_by=cured,
    )


def deadlocked(stack: Stack, name: str) -> list[str]:
    """Two workflows in a cycle, oldest first, seen as the runbook sees it."""
    gate = stack.directory / f"drill-{name}"
    pair = [stack.start(crosswise(name, *keys, gate)) for keys in (("left", "right"), ("right", "left"))]
    for workflow in pair:
        eventually(lambda: stack.task(workflow, "first")["status"] == "running")  # noqa: B023 it is called here
    gate.touch()
    for workflow in pair:
        eventually(lambda: stack.task(workflow, "first")["status"] == "succeeded")  # noqa: B023
        stack.shell(COMMANDS["Visualize workflow DAG"], workflow_id=workflow)
        dag = json.loads(stack.file("dag.json").read_text())
        assert [node["status"] for node in dag["nodes"]] == ["succeeded", "pending"]
    eventually(lambda: set(keys(stack)) >= set(pair), 10)
    why = "curl http://localhost:3003/api/v1/workflows/{workflow_id}/why"
    eventually(lambda: {stack.curl(why, workflow_id=workflow)[0]["reason"] for workflow in pair} == {"deadlock"})
    return pair


def crosswise(name: str, first: str, second: str, gate: Path) -> Document:
    """A workflow that takes one lock for itself, and then wants another."""
    own = {**step("first", type="gated", gate=str(gate)), "locks": [{"key": f"{name}-{first}", "scope": "workflow"}]}
    other = {**step("second", "first"), "locks": [{"key": f"{name}-{second}", "scope": "workflow"}]}
    return flow(f"drill-{name}", own, other)


def keys(stack: Stack) -> list[str]:
    return [key.removeprefix("workflow:lock:") for key in stack.shell(COMMANDS["Check for locks"]).out.split()]


def by_deleting_a_lock(stack: Stack) -> str:
    pair = deadlocked(stack, "released")
    eventually(lambda: all(stack.said(PHRASE, f"workflow_id={workflow}", "level=warning") for workflow in pair), 20)
    deleted = stack.shell(COMMANDS["Force release locks (use with caution)"], workflow_id=pair[0]).out.strip()
    assert deleted == "1"
    assert set(stack.await_ends(pair, 20).values()) == {"succeeded"}
    return "DEL of a lock key"


def by_cancelling(stack: Stack) -> str:
    pair = deadlocked(stack, "cancelled")
    stack.shell(COMMANDS["Cancel deadlocked workflow"], workflow_id=pair[0])
    assert stack.await_ends(pair, 20) == {pair[0]: "cancelled", pair[1]: "succeeded"}
    return "cancel"


def by_detection(stack: Stack) -> str:
    pair = deadlocked(stack, "detected")
    try:
        stack.shell(
            COMMANDS["Enable deadlock detection"] + "\nkubectl rollout status deployment/workflow-engine -n agents"
        )
        health = stack.curl("curl http://localhost:3003/health")
        assert health["deadlock_detection"] == "true"
        ended = stack.await_ends(pair, 30)
        assert sorted(ended.values()) == ["failed", "succeeded"], "the last to wait fails, and the other goes on"
        (failed,) = [workflow for workflow, status in ended.items() if status == "failed"]
        assert stack.task(failed, "second")["error"]["type"] == "deadlock"
    finally:
        stack.reset()
    return "DEADLOCK_DETECTION=true, which failed the last to wait"
