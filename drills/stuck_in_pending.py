"""Issue 1, "Workflow Stuck in Pending State": the workers hang, so nobody takes up what is accepted."""

from __future__ import annotations

import os
import signal

from support.documents import flow, step
from support.eventually import eventually
from support.runbook import COMMANDS
from support.stack import Stack

from drills.finding import Finding

NUMBER, TITLE = 1, "stuck in pending"


def run(stack: Stack) -> Finding:
    hung = stack.pids("workers")
    for pid in hung:
        os.kill(pid, signal.SIGSTOP)  # alive for the platform, which therefore does not replace them
    workflow = stack.start(flow("drill-pending", step("a")))

    eventually(lambda: stack.curl(COMMANDS["Check worker status"]) == [], 20, message="workers still count as alive")
    assert stack.curl("curl http://localhost:3003/api/v1/workflows/{workflow_id}", workflow_id=workflow)["status"] == (
        "pending"
    )
    depth = eventually(lambda: int(stack.shell(COMMANDS["Check Redis queue depth"]).out), 5)
    dead = [worker for worker in stack.curl(COMMANDS["Check for dead workers"]) if worker["pid"] in hung]
    assert len(dead) == len(hung)
    (why,) = stack.curl("curl http://localhost:3003/api/v1/workflows/{workflow_id}/why", workflow_id=workflow)
    assert why["reason"] == "no_workers"
    assert not stack.said("task picked up", f"workflow_id={workflow}"), "nothing was picked up, and the logs agree"

    stack.shell(COMMANDS["Restart workers"] + "\nkubectl rollout status deployment/workflow-workers -n agents")
    stack.shell(COMMANDS["Manually retry stuck workflow"], workflow_id=workflow)
    assert stack.await_end(workflow, 20) == "succeeded"
    assert stack.outcomes(workflow, "a") == ["succeeded"], "once, although it was also retried"
    assert not set(hung) & set(stack.pids("workers"))
    return Finding(
        seen=["no worker in /workers", f"LLEN {depth}", f"{len(dead)} in /workers/dead", f"why: {why['reason']}"],
        cured_by=["rollout restart of the workers", "retry"],
    )
