"""Issue 2, "Task Timeout": the model takes longer to answer than its tasks may take."""

from __future__ import annotations

from support.documents import flow, step
from support.eventually import eventually
from support.runbook import COMMANDS
from support.stack import Stack

from drills.finding import Finding

NUMBER, TITLE = 2, "task timeout"
PHRASE = "Task exceeded maximum runtime"
ANSWER_SECONDS, ALLOWED_SECONDS = 2.5, 1


def run(stack: Stack) -> Finding:
    patch = COMMANDS["Increase timeout for specific task type"]
    ask = {"id": "ask", "type": "llm_inference", "prompt": "How long?", "depends_on": ["kept"], "retries": 0}
    try:
        stack.model.seconds = ANSWER_SECONDS
        stack.shell(patch.replace(": 300", f": {ALLOWED_SECONDS}"))  # as whoever configured it too low did
        workflow = stack.start(flow("drill-timeout", step("kept"), ask))
        assert stack.await_end(workflow, 30) == "failed"

        lines = eventually(
            lambda: (
                stack.shell(f'grep -h "{PHRASE}" /var/log/workflow-engine/*.log | grep "workflow_id={workflow}"').out
            )
        ).splitlines()
        stats = stack.curl("curl http://localhost:3003/api/v1/tasks/stats")
        assert float(stack.shell(COMMANDS["Check task execution times"]).out) > 0
        assert stats["by_type"]["llm_inference"]["timed_out"] >= 1
        slow = stack.curl(COMMANDS["Identify slow tasks"])
        assert workflow not in {attempt["workflow_id"] for attempt in slow}  # it took no minute; so one looks closer
        slow = stack.curl("curl 'http://localhost:3003/api/v1/tasks/slow?threshold=900ms&type=llm_inference'")
        (found,) = [attempt for attempt in slow if attempt["workflow_id"] == workflow]
        assert (found["type"], found["timeout_from"]) == ("llm_inference", "type")

        stack.shell(patch)
        stack.shell(COMMANDS["Retry timed-out task with extended timeout"], task_id=found["task_id"])
        assert stack.await_end(workflow, 30) == "succeeded"
        assert stack.outcomes(workflow, "kept") == ["succeeded"], "what was done before is not done again"
        assert stack.outcomes(workflow, "ask") == ["failed", "succeeded"]
        another = stack.start(flow("drill-timeout", step("kept"), ask))
        assert stack.await_end(another, 30) == "succeeded", "the type has the time from now on"
    finally:
        stack.model.seconds = 0
        stack.shell(patch.replace(": 300", ": null"))
    return Finding(
        seen=[f'"{PHRASE}" in {len(lines)} log lines', "timed_out in /tasks/stats", "the task in /tasks/slow"],
        cured_by=["PATCH of the type's timeout", "retry of the task with timeout=600"],
    )
