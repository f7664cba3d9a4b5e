"""Issue 3, "Parallel Execution Deadlock": rows D01 to D07."""

import json

from support.documents import flow, step
from support.eventually import eventually
from support.runbook import COMMANDS
from support.stack import Stack


def test_d01_dag_json_has_the_graph_with_its_states(stack: Stack) -> None:
    gate = stack.directory / "d01"
    workflow = stack.start(flow("d01", step("a"), step("b", "a", type="gated", gate=str(gate)), step("c", "b")))
    eventually(lambda: stack.task(workflow, "b")["status"] == "running")
    stack.shell(COMMANDS["Visualize workflow DAG"], workflow_id=workflow)
    dag = json.loads(stack.file("dag.json").read_text())
    assert [(node["id"], node["status"]) for node in dag["nodes"]] == [
        ("a", "succeeded"),
        ("b", "running"),
        ("c", "blocked"),
    ]
    assert dag["edges"] == [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}]
    assert dag["cycles"] == []
    assert dag["critical_path"] == ["a", "b", "c"]
    assert dag["waiting_on"] == {"c": ["b"]}
    drawn = {"mermaid": "flowchart", "dot": "digraph", "svg": "<svg"}
    for form, beginning in drawn.items():
        picture = f"curl -s 'http://localhost:3003/api/v1/workflows/{{workflow_id}}/dag?format={form}'"
        assert beginning in stack.shell(picture, workflow_id=workflow).out
    gate.touch()
    assert stack.await_end(workflow) == "succeeded"


def test_d04_cancel_ends_what_runs_and_what_waits_and_twice_is_no_error(stack: Stack) -> None:
    gate = stack.directory / "never"
    workflow = stack.start(flow("d04", step("a", type="gated", gate=str(gate)), step("b", "a")))
    eventually(lambda: stack.status(workflow) == "running")
    cancel = COMMANDS["Cancel deadlocked workflow"]
    code = "curl -s -o /dev/null -w '%{http_code}' -X POST" + cancel.removeprefix("curl -X POST")
    assert stack.shell(cancel, workflow_id=workflow).json()["status"] == "cancelled"
    assert stack.status(workflow) == "cancelled"
    assert stack.shell(code, workflow_id=workflow).out == "200"
    assert stack.outcomes(workflow, "a") == ["cancelled"]
    assert stack.task(workflow, "b")["status"] == "cancelled"
    task = str(stack.task(workflow, "a")["id"])
    eventually(lambda: all(task not in worker["current_tasks"] for worker in stack.get("/workers")))


def test_d06_a_circular_definition_is_refused_in_the_runbooks_words(stack: Stack) -> None:
    document = flow("d06", step("a", "b"), step("b", "a"))
    answer = stack.shell(
        "curl -s -w '\\n%{http_code}' -X POST http://localhost:3003/api/v1/workflows"
        f" -H 'Content-Type: application/json' -d '{json.dumps(document)}'"
    )
    body, code = answer.out.rsplit("\n", 1)
    problem = json.loads(body)
    assert code == "422"
    assert problem["detail"].startswith("Circular dependency detected: ")
    assert problem["cycle"][0] == problem["cycle"][-1]
    line = eventually(lambda: stack.said("Circular dependency detected"))[0]
    assert "level=warning" in line
    assert "a -> b -> a" in line or "b -> a -> b" in line
