"""Issue 2, "Task Timeout": rows C01 to C06."""

from support.documents import flow, step
from support.eventually import eventually
from support.stack import Stack

PHRASE = "Task exceeded maximum runtime"


def slow(name: str) -> dict[str, object]:
    """A workflow that did its first step and whose second one takes longer than it may."""
    late = {**step("late", "kept", seconds=30), "timeout": "500ms", "retries": 0}
    return flow(name, step("kept"), late)


def test_c01_the_phrase_is_in_the_error_and_in_the_logs_with_what_it_is_about(stack: Stack) -> None:
    workflow = stack.start(slow("c01"))
    assert stack.await_end(workflow) == "failed"
    tasks = stack.curl("curl http://localhost:3003/api/v1/workflows/{workflow_id}/tasks", workflow_id=workflow)
    error = tasks[1]["error"]
    assert error["type"] == "timeout"
    assert error["message"].startswith(PHRASE)
    lines = eventually(lambda: stack.said(PHRASE, f"workflow_id={workflow}"))
    assert any(f"task_id={tasks[1]['id']}" in line and "type=count" in line and "timeout=" in line for line in lines)


def test_c06_what_was_done_before_the_timeout_is_kept(stack: Stack) -> None:
    workflow = stack.start(slow("c06"))
    assert stack.await_end(workflow) == "failed"
    tasks = stack.curl("curl http://localhost:3003/api/v1/workflows/{workflow_id}/tasks", workflow_id=workflow)
    assert [(task["step"], task["status"]) for task in tasks] == [("kept", "succeeded"), ("late", "failed")]
    stack.shell("curl -X POST http://localhost:3003/api/v1/workflows/{workflow_id}/retry", workflow_id=workflow)
    assert stack.await_end(workflow) == "failed"
    assert stack.outcomes(workflow, "kept") == ["succeeded"]
    assert len(stack.outcomes(workflow, "late")) == 2
