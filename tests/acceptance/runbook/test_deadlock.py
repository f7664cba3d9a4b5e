"""Issue 3, "Parallel Execution Deadlock": rows D01 to D07."""

import json
import os
import re
import signal

from support.cluster import TAKEOVER_SECONDS
from support.documents import Document, flow, step
from support.eventually import eventually
from support.runbook import COMMANDS
from support.stack import Stack

from drills import deadlock


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


def locked(name: str, key: str, *steps: Document) -> Document:
    """A workflow that keeps a lock from its first step to its end."""
    first, *others = steps
    return flow(name, {**first, "locks": [{"key": key, "scope": "workflow"}]}, *others)


def lock_keys(stack: Stack) -> set[str]:
    """Ids of the workflows that hold locks, as the runbook looks for them."""
    return {key.removeprefix("workflow:lock:") for key in stack.shell(COMMANDS["Check for locks"]).out.split()}


def test_d02_there_is_one_readable_key_for_each_workflow_that_holds_locks_and_no_other(stack: Stack) -> None:
    gate = stack.directory / "d02"
    holder = stack.start(locked("d02", "d02", step("a", type="gated", gate=str(gate))))
    eventually(lambda: stack.status(holder) == "running")
    waiter = stack.start(locked("d02", "d02", step("a", type="gated", gate=str(gate))))

    def shown() -> bool:
        holders = {holder["workflow_id"] for lock in stack.curl("curl http://localhost:3003/api/v1/locks")
                   for holder in lock["holders"]}  # fmt: skip
        return holder in holders and lock_keys(stack) == holders

    eventually(shown, 10)
    assert waiter not in lock_keys(stack)
    value = stack.shell('redis-cli -h localhost -p 6379 get "workflow:lock:{workflow_id}"', workflow_id=holder).out
    assert re.fullmatch(r'holder=\S+ acquired_at=\S+Z what=".*d02.*" token=\S+', value.strip()), value
    gate.touch()
    assert set(stack.await_ends([holder, waiter]).values()) == {"succeeded"}
    eventually(lambda: not {holder, waiter} & lock_keys(stack), 10)


def test_d03_deleting_the_key_frees_the_lock_and_the_old_holder_can_change_nothing(stack: Stack) -> None:
    gate = stack.directory / "d03"
    holder = stack.start(locked("d03", "d03", step("a", type="gated", gate=str(gate))))
    eventually(lambda: holder in lock_keys(stack), 10)
    waiter = stack.start(locked("d03", "d03", step("b")))
    eventually(lambda: stack.get(f"/workflows/{waiter}/why")[0]["reason"] == "lock_held")

    assert stack.shell(COMMANDS["Force release locks (use with caution)"], workflow_id=holder).out.strip() == "1"
    assert stack.await_end(waiter, 10) == "succeeded"
    eventually(lambda: stack.said("lock released externally", f"workflow_id={holder}"))
    gate.touch()
    assert stack.await_end(holder) == "succeeded"
    assert stack.outcomes(holder, "a") == ["released", "succeeded"], "tried again, without spending a try"
    assert stack.task(holder, "a")["tries"] == 1


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


def test_d05_a_deadlock_is_seen_and_cured_each_way_and_by_turning_detection_on(stack: Stack) -> None:
    assert stack.curl("curl http://localhost:3003/health")["deadlock_detection"] == "warn"
    finding = deadlock.run(stack)
    assert len(finding.cured_by) == 3


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
    lines = eventually(lambda: stack.said("Circular dependency detected"))
    (line, *_) = [line for line in lines if "a -> b -> a" in line or "b -> a -> b" in line]
    assert "level=warning" in line


def test_d07_the_lock_of_a_killed_worker_is_free_again_by_itself(stack: Stack) -> None:
    gate = stack.directory / "d07"
    holder = stack.start(locked("d07", "d07", step("a", type="gated", gate=str(gate))))
    (run,) = eventually(lambda: [entry for entry in stack.ledger.starts("a") if entry.workflow == holder])
    eventually(lambda: holder in lock_keys(stack), 10)
    waiter = stack.start(locked("d07-waits", "d07", step("b")))
    os.kill(run.pid, signal.SIGKILL)
    # With scope workflow the lock stays with the workflow, which goes on elsewhere and ends.
    gate.touch()
    assert set(stack.await_ends([holder, waiter], TAKEOVER_SECONDS).values()) == {"succeeded"}
    eventually(lambda: not {holder, waiter} & lock_keys(stack), 10)
    assert stack.outcomes(holder, "a") == ["lost", "succeeded"]
