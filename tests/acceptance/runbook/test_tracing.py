"""Workflow tracing: row L01."""

import json

from support.documents import flow, step
from support.runbook import COMMANDS
from support.stack import Stack


def test_l01_the_trace_has_every_attempt_with_its_times_and_exports_to_a_file(stack: Stack) -> None:
    failing = {"id": "c", "type": "fail", "depends_on": ["b"]}
    workflow = stack.start(flow("l01", step("a", seconds=0.1), step("b", "a"), failing))
    assert stack.await_end(workflow) == "failed"
    trace = stack.curl(COMMANDS["Get workflow execution trace"], workflow_id=workflow)
    stack.shell(COMMANDS["Export to JSON for analysis"], workflow_id=workflow)
    assert json.loads(stack.file("trace.json").read_text()) == trace
    assert [span["started_at"] for span in trace] == sorted(span["started_at"] for span in trace)
    by_step = {span["step"]: span for span in trace}
    for span in trace:
        assert {"step", "attempt", "status", "queued_at", "started_at", "finished_at", "wait_s", "run_s", "worker"} <= (
            span.keys()
        )
    assert by_step["a"]["status"] == "succeeded"
    assert by_step["a"]["run_s"] >= 0.1
    assert by_step["c"]["status"] == "failed"
    assert by_step["c"]["error"]["type"]
    otlp = stack.shell(
        "curl -s 'http://localhost:3003/api/v1/workflows/{workflow_id}/trace?format=otlp'", workflow_id=workflow
    )
    assert otlp.json()["resourceSpans"]
    chrome = stack.shell(
        "curl -s 'http://localhost:3003/api/v1/workflows/{workflow_id}/trace?format=chrome'", workflow_id=workflow
    )
    assert chrome.json()["traceEvents"]
    assert all(len(span["trace_id"]) == 32 and len(span["span_id"]) == 16 for span in trace)
