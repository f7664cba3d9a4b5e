"""Issue 4, "Worker Memory Exhaustion": a handler keeps what it should let go."""

from __future__ import annotations

import re

from support.documents import flow, step
from support.eventually import eventually
from support.runbook import COMMANDS
from support.stack import Stack

from drills.finding import Finding

NUMBER, TITLE = 4, "memory exhaustion"
MIB = 1024**2
LIMIT_MIB = 240  # some 100 are the worker itself
LEAKS = 36  # more than two workers can keep without being near their limits


def run(stack: Stack) -> Finding:
    before = memory(stack)
    workflow = leak(stack, tasks=16)
    assert stack.await_end(workflow) == "succeeded"
    climbed = memory(stack) - before
    assert climbed > 100, f"{before} MiB and {climbed} more"

    try:
        stack.shell(COMMANDS["Reduce concurrency"])
        stack.shell(COMMANDS["Enable memory profiling"])
        stack.shell(COMMANDS["Restart workers with new limits"].replace("2Gi", f"{LIMIT_MIB}Mi"))
        stack.shell("kubectl rollout status deployment/workflow-workers -n agents")
        given_back = before + climbed - memory(stack)
        assert given_back > 50, f"a restart gives it back, less what the profiler takes: {given_back} MiB"
        assert {worker["concurrency"] for worker in stack.curl(COMMANDS["Check worker status"])} == {2}

        pids = stack.pids("workers")
        before_leak = recycles(stack)
        workflow = leak(stack, tasks=LEAKS)
        assert stack.await_end(workflow, 120) == "succeeded"
        assert stack.said("msg=memory_limit_near"), f"{LEAKS} x 8 MiB do not fit into two workers"
        recycled = eventually(lambda: recycles(stack) - before_leak, 15)  # at the latest when nothing is left to do
        assert stack.pids("workers") == pids, "the platform sees no restart"

        def told() -> list[str]:
            assert stack.await_end(leak(stack, tasks=1), 60) == "succeeded"  # it is traced for a part of the time
            return stack.said("msg=memory_profile", "acceptance_handlers.py")

        profile = eventually(told, 30)[-1]
        place = re.findall(r"acceptance_handlers\.py:\d+", profile)[0]
        outcomes = stack.rows(
            "select outcome, count(*) as n from workflow.attempt_history where workflow_id = %s group by 1", workflow
        )
        counts = {row["outcome"]: row["n"] for row in outcomes}
        assert counts.pop("succeeded") == LEAKS
        assert set(counts) <= {"released"}, "nothing was lost, no try was spent"
    finally:
        stack.reset()
    return Finding(
        seen=[f"{climbed} MiB more in top and /workers", "memory_limit_near", f"memory_profile names {place}"],
        cured_by=["WORKER_CONCURRENCY=2", f"a limit, at which workers recycle themselves ({recycled} times)"],
    )


def recycles(stack: Stack) -> int:
    """How often workers have begun again because of their memory."""
    return len({line.split()[0] for line in stack.said("msg=recycling", "reason=memory")})  # in two logs, at one time


def leak(stack: Stack, *, tasks: int) -> str:
    """Start a workflow whose handlers keep 8 MiB each."""
    steps = [step(f"s{number}", type="leaks", bytes=8 * MIB) for number in range(tasks)]
    return stack.start(flow("drill-memory", *steps))


def memory(stack: Stack) -> int:
    """MiB that the workers use, as the runbook looks at it."""
    rows = stack.shell(COMMANDS["Check worker memory"]).out.splitlines()[1:]
    return sum(int(row.split()[2].removesuffix("Mi")) for row in rows)
