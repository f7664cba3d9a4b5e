"""Workflow management commands: rows P01 and P02."""

from support.documents import flow, step
from support.eventually import eventually
from support.runbook import COMMANDS
from support.stack import Stack


def test_p01_the_runbooks_workflow_is_accepted_byte_for_byte_and_runs(stack: Stack) -> None:
    answer = stack.shell(COMMANDS["Create Workflow"] + " -s -w '\\n%{http_code} %header{location}'").out
    body, _, rest = answer.rstrip().rpartition("\n")
    stack.file("started.json").write_text(body)
    started = stack.shell("jq . started.json").json()
    assert rest.split() == ["202", f"/api/v1/workflows/{started['id']}"]
    assert {"id", "name", "version", "status", "links", "warnings"} <= started.keys()
    assert (started["name"], started["status"]) == ("data-pipeline", "pending")
    assert started["warnings"][0]["pointer"].startswith("/steps/0/url")

    # The stack answers every http step itself (--mock-http), and stand-ins take the place of the agents.
    assert stack.await_end(started["id"]) == "succeeded"
    tasks = stack.curl("curl http://localhost:3003/api/v1/workflows/{workflow_id}/tasks", workflow_id=started["id"])
    assert [(task["step"], task["status"]) for task in tasks] == [
        ("fetch", "succeeded"),
        ("process", "succeeded"),
        ("store", "succeeded"),
    ]
    records = stack.rows("select data from workflow.records where workflow_id = %s", started["id"])
    assert len(records) == 1, "database without a statement stores what came before it"


def test_p02_cancel_and_retry_as_the_management_section_has_them(stack: Stack) -> None:
    gate = stack.directory / "p02"
    workflow = stack.start(flow("p02", step("a", type="gated", gate=str(gate))))
    eventually(lambda: stack.status(workflow) == "running")
    assert stack.shell(COMMANDS["Cancel Workflow"], workflow_id=workflow).json()["status"] == "cancelled"
    failed = stack.start(flow("p02-failed", {"id": "f", "type": "fail"}))
    assert stack.await_end(failed) == "failed"
    assert stack.shell(COMMANDS["Retry Failed Workflow"], workflow_id=failed).json()["tasks"] == 1
    assert stack.await_end(failed) == "failed"


def test_a_placeholder_that_was_left_in_is_answered_with_real_ids(stack: Stack) -> None:
    stack.start(flow("placeholder", step("a")))
    for command in (COMMANDS["Cancel Workflow"], COMMANDS["Retry Failed Workflow"]):
        problem = stack.shell(command).json()  # curl makes workflow_id of {workflow_id}
        assert problem["status"] == 404
        assert "placeholder" in problem["detail"]
