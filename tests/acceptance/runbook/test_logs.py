"""Where the logs are, and what is in them: rows K01 to K04."""

from support.documents import chain, flow, step
from support.eventually import eventually
from support.runbook import COMMANDS
from support.stack import Stack


def test_k01_logs_are_followed_line_by_line_in_logfmt_with_utc_times(stack: Stack) -> None:
    assert stack.await_end(stack.start(chain(1))) == "succeeded"
    for comment in ("Engine logs", "Worker logs"):
        shown = stack.shell(f"timeout 2 {COMMANDS[comment]}", code=124)
        lines = shown.out.splitlines()
        assert lines
        for line in lines:
            assert line.startswith("time=20"), line
            assert line.split()[0].endswith("Z"), line
            assert " level=" in line
            assert " msg=" in line


def test_k02_one_label_selects_engines_and_workers(stack: Stack) -> None:
    command = COMMANDS["All workflow-related logs"]
    shown = stack.shell(command)
    assert "role=engine" in shown.out
    assert "role=worker" in shown.out
    assert len(shown.out.splitlines()) <= 4 * 10, "with a selector kubectl shows ten lines of each"
    whole = stack.shell(f"{command} --tail=-1 --prefix").out.splitlines()
    assert len(whole) >= len(shown.out.splitlines())
    assert {line.split()[0].rsplit("-", 2)[0] for line in whole} == {"[pod/workflow-engine", "[pod/workflow-workers"}


def test_k03_the_lines_of_a_workflow_are_found_by_its_id(stack: Stack) -> None:
    workflow = stack.start(chain(3))
    assert stack.await_end(workflow) == "succeeded"
    lines = stack.shell(COMMANDS["Filter by workflow ID"], workflow_id=workflow).out.splitlines()
    assert lines
    assert all(f"workflow_id={workflow}" in line for line in lines)
    for server in stack.engine_urls:  # one pod's log is only a part; this is all of it, wherever it is asked
        whole = stack.shell(f"workflow-engine logs {workflow} --server {server}").out.splitlines()
        text = f"curl -s '{server}/api/v1/workflows/{workflow}/logs?format=text'"
        assert stack.shell(text).out.splitlines() == whole
        assert all(f"workflow_id={workflow}" in line for line in whole)
        assert any("task picked up" in line or "task.started" in line for line in whole)


def test_k04_the_files_exist_are_followed_and_say_each_transition_once(stack: Stack) -> None:
    workflow = stack.start(flow("k04", step("a"), {"id": "b", "type": "fail", "depends_on": ["a"]}))
    assert stack.await_end(workflow) == "failed"

    def followed(comment: str) -> list[str]:
        return stack.shell(f"timeout 1 {COMMANDS[comment].replace('-f', '-n +1 -f')}", code=124).out.splitlines()

    assert any("role=engine" in line for line in followed("Application logs"))
    assert any("role=worker" in line for line in followed("Celery worker logs"))
    transitions = eventually(
        lambda: (
            lines
            if len(lines := [line for line in followed("Task execution logs") if f"workflow_id={workflow}" in line])
            >= 4
            else None
        )
    )
    picked_up = [line for line in transitions or [] if 'msg="task picked up"' in line]
    assert len(picked_up) == 2
    assert all(" task_id=" in line and " worker=" in line for line in picked_up)
