"""Issue 2, "Task Timeout": rows C01 to C06."""

from support.documents import flow, step
from support.eventually import eventually
from support.runbook import COMMANDS
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


def test_c02_the_mean_duration_is_a_number_of_seconds_with_what_surrounds_it(stack: Stack) -> None:
    workflow = stack.start(flow("c02", *(step(f"s{number}", seconds=0.2) for number in range(5))))
    assert stack.await_end(workflow) == "succeeded"
    assert float(stack.shell(COMMANDS["Check task execution times"]).out) > 0
    stats = stack.curl("curl 'http://localhost:3003/api/v1/tasks/stats?type=count&window=1h'")
    assert {"avg_duration", "p50", "p95", "p99", "count", "window", "succeeded", "failed", "timed_out", "running"} <= (
        stats.keys()
    )
    assert 0 < stats["by_type"]["count"]["avg_duration"] < 30
    assert stats["by_type"]["count"]["max"] >= 0.2  # others on this stack count more quickly
    assert stats["succeeded"] >= 5
    nothing = "curl 'http://localhost:3003/api/v1/tasks/stats?type=agent&window=1s' | jq '.avg_duration'"
    assert float(stack.shell(nothing).out) == 0, "a number, also when there was nothing"


def test_c03_slow_tasks_are_those_that_took_long_and_those_that_still_run_longest_first(stack: Stack) -> None:
    gate = stack.directory / "c03"
    ended = stack.start(flow("c03-ended", step("a", seconds=1.2)))
    running = stack.start(flow("c03-running", step("a", type="gated", gate=str(gate))))
    assert stack.await_end(ended) == "succeeded"
    ours = {ended, running}

    def slow(threshold: str) -> list[str]:
        command = COMMANDS["Identify slow tasks"].replace("60s", threshold)
        if threshold != "60s":  # the others of this stack are many
            command = command.replace("curl ", "curl '") + "&limit=1000'"
        found = stack.curl(command)
        durations = [attempt["duration"] for attempt in found]
        assert durations == sorted(durations, reverse=True)
        return [attempt["workflow_id"] for attempt in found if attempt["workflow_id"] in ours]

    eventually(lambda: set(slow("1s")) == ours)
    assert slow("60s") == []
    # A minute and a half later, as far as the database can tell.
    with stack.connect() as connection:
        connection.execute(
            "update workflow.tasks set started_at = started_at - interval '90 s' where workflow_id = %s", [running]
        )
    assert slow("60s") == [running]
    gate.touch()
    assert stack.await_end(running) == "succeeded"
    eventually(lambda: slow("60s") == [running], message="it is no longer slow once it has ended")


def test_c04_a_changed_timeout_counts_from_the_next_attempt_on_and_is_kept(stack: Stack) -> None:
    patch = COMMANDS["Increase timeout for specific task type"]
    shown = stack.shell(patch).json()
    assert (shown["name"], shown["timeout"]) == ("llm_inference", 300)
    kept = "curl http://localhost:3003/api/v1/task-types/llm_inference"
    assert stack.curl(kept)["timeout"] == 300
    assert stack.shell("curl -si http://localhost:3003/api/v1/task-types/llm_inference | grep -i ^etag:").out

    code = " -s -o refused.json -w '%{http_code}'"
    assert stack.shell(patch.replace("llm_inference", "llm_inferense") + code).out == "404"
    assert "llm_inference" in stack.file("refused.json").read_text()
    assert stack.shell(patch.replace('"timeout"', '"time_out"') + code).out == "422"

    # A type of ours, because its tasks can be made to wait: what is pending already takes the new time.
    count = patch.replace("llm_inference", "count").replace(": 300", ": {seconds}")
    try:
        waits = stack.start(flow("c04", step("a", seconds=0.4, type="count"), step("late", "a", seconds=20)))
        stack.shell(count, seconds="1")
        assert stack.await_end(waits) == "failed"
        assert " timeout=1 " in stack.said("Task exceeded maximum runtime", f"workflow_id={waits}")[0]
    finally:
        stack.shell(count, seconds="null")


def test_c05_a_task_that_timed_out_is_retried_with_the_time_it_needs(stack: Stack) -> None:
    workflow = stack.start(
        flow("c05", step("kept"), {**step("late", "kept", seconds=1.5), "timeout": "500ms", "retries": 0})
    )
    assert stack.await_end(workflow) == "failed"
    task = stack.task(workflow, "late")
    answer = stack.shell(
        COMMANDS["Retry timed-out task with extended timeout"] + " -s -o /dev/null -w '%{http_code}'",
        task_id=str(task["id"]),
    )
    assert answer.out == "202"
    assert stack.await_end(workflow) == "succeeded"
    assert stack.outcomes(workflow, "kept") == ["succeeded"]
    assert stack.outcomes(workflow, "late") == ["failed", "succeeded"], "its history is kept"


def test_c06_what_was_done_before_the_timeout_is_kept(stack: Stack) -> None:
    workflow = stack.start(slow("c06"))
    assert stack.await_end(workflow) == "failed"
    tasks = stack.curl("curl http://localhost:3003/api/v1/workflows/{workflow_id}/tasks", workflow_id=workflow)
    assert [(task["step"], task["status"]) for task in tasks] == [("kept", "succeeded"), ("late", "failed")]
    stack.shell("curl -X POST http://localhost:3003/api/v1/workflows/{workflow_id}/retry", workflow_id=workflow)
    assert stack.await_end(workflow) == "failed"
    assert stack.outcomes(workflow, "kept") == ["succeeded"]
    assert len(stack.outcomes(workflow, "late")) == 2
